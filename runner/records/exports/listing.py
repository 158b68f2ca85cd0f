"""What of a run travels: its files and the objects that a re-run needs, by digest: a bundle's table of contents."""

from __future__ import annotations

import re
from collections.abc import Iterable

from runner.errors import FormatError
from runner.worker.codec import decode, encode
from runner.worker.files import Json, canonical
from runner.worker.values import dataclass

FORMAT, VERSION = "mlrun-bundle", 1
MOST_BYTES = 1 << 28  # of a listing: two million files

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NEVER = frozenset({"secrets.json", "work", "scratch", "imported.json"})  # no file of a run that travels
_TAMPERED = "the bundle was damaged or tampered with; ask for it again"


@dataclass(frozen=True)
class File:
    """A file of the run directory."""

    path: str  # POSIX, relative to it
    size: int
    sha256: str


@dataclass(frozen=True)
class Content:
    """Bytes that a re-run needs."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Listing:
    """bundle.json. FormatError for paths that leave the run directory, and for what is named twice."""

    run: str
    files: tuple[File, ...]
    objects: tuple[Content, ...]
    without: tuple[str, ...] = ()  # files of the run directory that were left out
    format: str = FORMAT
    version: int = VERSION

    def __post_init__(self) -> None:
        """Refuse what no bundle of ours says."""
        _require(self.format == FORMAT and self.version == VERSION, f"format {self.format!r} {self.version}")
        _require(_ID.fullmatch(self.run) is not None, f"{self.run!r} is no run id")
        paths = [each.path for each in self.files]
        for path in (*paths, *self.without):
            _require(_is_inside(path), f"the path {path!r} is not one of a run directory")
        _require(len(set(paths)) == len(paths), "a path is named twice")
        above = {path[:end] for path in paths for end, letter in enumerate(path) if letter == "/"}
        _require(not above.intersection(paths), "a path is a file and a directory")
        for sha256, size in self.contents():
            _require(_SHA256.fullmatch(sha256) is not None and size >= 0, f"{sha256!r} is no sha256, or {size} no size")
        digests = [each.sha256 for each in self.objects]
        _require(len(set(digests)) == len(digests), "an object is named twice")

    def contents(self) -> Iterable[tuple[str, int]]:
        """Yield digest and size of all that travels; files with the same bytes are one."""
        pairs = [(each.sha256, each.size) for each in self.files]
        return dict.fromkeys([*pairs, *((each.sha256, each.size) for each in self.objects)])

    def to_bytes(self) -> bytes:
        """Return the one byte form of a listing."""
        return canonical(encode(self))


def parse(data: Json) -> Listing:
    """Return the listing that JSON holds; FormatError where it is none, or one of a newer mlrun."""
    if isinstance(data, dict) and data.get("format") == FORMAT:
        version = data.get("version")
        if isinstance(version, int) and version > VERSION:
            message = f"the bundle is of version {version}; this mlrun reads {VERSION}"
            raise FormatError(message, hint="upgrade mlrun")
    return decode(Listing, data, "bundle.json")


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return (
        bool(path)
        and not any(part in ("", ".", "..") for part in parts)
        and "\0" not in path
        and parts[0] not in _NEVER
        and not parts[0].startswith(".")
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise FormatError(f"bundle.json is refused: {message}", hint=_TAMPERED)
