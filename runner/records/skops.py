"""Models saved by skops, which MLflow uses for scikit-learn, as what they hold: without addresses of memory and times.

Such a file is a zip archive: `schema.json` is a tree of nodes, each with the address that its object had (`__id__`),
and arrays are members that are named by addresses.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from typing import Any

_SCHEMA = "schema.json"
_MOST = 1 << 30  # bytes of all members
_UNREADABLE = (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, EOFError, OSError)  # whatever zipfile raises
_AGAIN = "CachedNode"  # a node that stands for an earlier one of the same address


def read_skops(data: bytes) -> Any:
    """Return what two files of the same model have in common; ValueError for what is no such file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MOST:
                message = "too large to be looked into"
                raise ValueError(message)
            schema = json.loads(archive.read(_SCHEMA))
            members = {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
    except _UNREADABLE as error:
        raise ValueError(str(error)) from None
    del members[_SCHEMA]
    return _Reader(members).read(schema), sorted(members.values())


class _Reader:
    """Takes addresses out of nodes: of those that stand for an earlier one, it leaves which one that was."""

    def __init__(self, members: dict[str, str]) -> None:
        self._members = members
        self._places: dict[Any, int] = {}

    def read(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.read(item) for item in value]
        if not isinstance(value, dict):
            return value
        address = value.get("__id__")
        place = len(self._places) if value.get("__loader__") != _AGAIN else -1
        if isinstance(address, int):
            place = self._places.setdefault(address, place)
        kept = {key: self.read(item) for key, item in value.items() if key not in ("__id__", "file")}
        again = {"again": place} if value.get("__loader__") == _AGAIN else {}
        return {**kept, **again, **({"file": self._members.get(str(value["file"]))} if "file" in value else {})}
