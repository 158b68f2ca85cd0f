"""A thing that lines tell of, one after the other: facts that a later line changes, and tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.worker.files import Json

Line = Mapping[str, Any]


class Described:
    """What is known of a thing by now."""

    def __init__(self, **info: Any) -> None:
        """Know nothing of it but this."""
        self.info: dict[str, Any] = info
        self.tags: dict[str, str] = {}
        self.deleted = False

    def update(self, line: Line) -> None:
        """Take a line into account."""
        self.info.update(line.get("info", {}))
        self.tags.update(line.get("tags", {}))
        self.deleted = line.get("deleted", self.deleted)
        if "untag" in line:
            self.tags.pop(line["untag"], None)


def pairs(values: Mapping[str, str]) -> list[Json]:
    """Return a mapping as MLflow has it: a list of keys and values."""
    return [{"key": name, "value": value} for name, value in values.items()]
