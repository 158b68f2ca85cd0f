"""The lines that a run's command logged, from a byte on: what to tell a server next."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.publishing.content import LONGEST_NAME
from runner.records.metrics import Measured, number, read_line

_PIECE = 1 << 20


def new_lines(path: Path, start: int) -> tuple[list[bytes], int]:
    """Return the whole lines of a file from an offset on, at most 1 MiB of them, and where the next begins."""
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            lines = stream.readlines(_PIECE)
    except FileNotFoundError:
        return [], start
    if lines and not lines[-1].endswith(b"\n"):  # it is still being written
        lines.pop()
    return lines, start + sum(map(len, lines))


@dataclass
class Said:
    """What was logged between two removals of tags."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    datasets: list[Any] = field(default_factory=list)
    name: str = ""


def said_of(lines: Iterable[bytes]) -> Iterator[Said]:
    """Return what lines of tracking.jsonl say, in as few pieces as keep their order."""
    said = Said()
    for line in lines:
        try:
            data = json.loads(line)
            kind = data["do"]
            if kind in ("param", "tag"):
                (said.params if kind == "param" else said.tags)[str(data["name"])] = str(data["value"])
            elif kind == "untag":
                said.removed.append(str(data["name"]))
                yield said
                said = Said()
            elif kind == "dataset":
                said.datasets.append(data["dataset"])
            elif kind == "run":
                said.name = str(data.get("run_name") or said.name)
        except (ValueError, KeyError, TypeError, RecursionError):  # changed by hand: passed over
            continue
    yield said


class Values:
    """The values of metrics.jsonl, as rows for a server; the n-th value of a metric without a step is its step n."""

    def __init__(self, path: Path, start: int, begun: int) -> None:
        """Begin at an offset; ``begun`` (ms) is the time of values that have none."""
        self._path = path
        self._begun = begun
        self._counts: dict[str, int] = {}
        self._offset = 0
        while self._offset < start:  # what was sent before is counted, so that the steps go on from there
            lines, end = new_lines(path, self._offset)
            if not lines:
                break
            for line in lines:
                if self._offset < start:
                    self._row(read_line(line))
                    self._offset += len(line)
            self._offset = min(end, start)

    def following(self, most: int) -> tuple[list[dict[str, Any]], int]:
        """Return the next rows, at most so many, and the offset behind them."""
        rows: list[dict[str, Any]] = []
        lines, _ = new_lines(self._path, self._offset)
        for line in lines[:most]:
            self._offset += len(line)
            row = self._row(read_line(line))
            if row is not None:
                rows.append(row)
        return rows, self._offset

    def _row(self, point: Measured | None) -> dict[str, Any] | None:
        if point is None or len(point.name) > LONGEST_NAME:
            return None
        count = self._counts[point.name] = self._counts.get(point.name, -1) + 1
        return {
            "key": point.name,
            "value": number(point.value),
            "timestamp": self._begun if point.timestamp is None else point.timestamp,
            "step": count if point.step is None else point.step,
        }
