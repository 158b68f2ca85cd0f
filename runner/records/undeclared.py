"""Inputs that a run was seen to read and that nobody declared: named, with the line that would declare them."""

from __future__ import annotations

import posixpath
from typing import Any

from runner.worker.files import Json
from runner.worker.values import dataclass

_NAMED = 3
_FEW = 2  # files of one directory that are declared one by one; for more of them, the directory


@dataclass(frozen=True)
class Undeclared:
    """Files that a run read; ``line`` is for the MLproject."""

    named: tuple[str, ...]
    count: int
    line: str


def undeclared(record: Json) -> Undeclared | None:
    """Return what a run read inside its project without its being declared, or part of the source; None for nothing."""
    data: Any = record
    paths = [item["path"] for item in data["inputs"] if item["basis"] == "traced" and "://" not in item["path"]]
    if not paths:
        return None
    return Undeclared(tuple(paths[:_NAMED]), len(paths), f"inputs: [{', '.join(map(_quoted, _places(paths)))}]")


def _places(paths: list[str]) -> list[str]:
    """Return files, or the first directory of their paths where it holds more than a few of them."""
    tops = [path.partition("/")[0] if "/" in path else path for path in paths]
    places = (top if tops.count(top) > _FEW else path for top, path in zip(tops, paths, strict=True))
    return sorted(dict.fromkeys(map(posixpath.normpath, places)))


def _quoted(path: str) -> str:
    plain = path.replace("/", "").replace(".", "").replace("-", "").replace("_", "").isalnum()
    return path if plain else "'" + path.replace("'", "''") + "'"
