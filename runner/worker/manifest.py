"""The manifest of a snapshot: (mode, sha256, path) of every source file; its own digest names the snapshot."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import FormatError, IntegrityError
from runner.worker.objects import Objects

FILE = "100644"
EXECUTABLE = "100755"
SYMLINK = "120000"  # its object holds the target's text


@dataclass(frozen=True, order=True)
class Entry:
    """A source file; ``path`` is POSIX, relative to the snapshot's root, in the bytes the file system has."""

    path: bytes
    mode: str
    sha256: str


def encode_manifest(entries: Iterable[Entry]) -> bytes:
    """Return the manifest's bytes: `mode SP sha256 TAB path NUL`, sorted by path (as `git ls-tree -z` has it)."""
    return b"".join(b"%s %s\t%s\0" % (e.mode.encode(), e.sha256.encode(), e.path) for e in sorted(entries))


def decode_manifest(data: bytes) -> tuple[Entry, ...]:
    """Return the entries of a manifest; FormatError where it is not one."""
    try:
        return tuple(_entry(line) for line in data.split(b"\0")[:-1])
    except (ValueError, UnicodeDecodeError):
        message = "a snapshot's manifest is damaged"
        raise FormatError(message, hint="`mlrun verify` names the object") from None


def materialise(entries: Sequence[Entry], objects: Objects, target: Path) -> None:
    """Make the files of a snapshot under ``target``, which must be empty; IntegrityError where bytes are missing.

    Nothing is written outside ``target``: a path that leaves it, or that passes through a symlink, is refused.
    """
    root = os.fsencode(target)
    made = {b""}
    links = {entry.path for entry in entries if entry.mode == SYMLINK}
    for entry in entries:
        parent = _checked_parent(entry.path, links)
        if parent not in made:
            os.makedirs(os.path.join(root, parent), exist_ok=True)
            made.add(parent)
        path = os.path.join(root, entry.path)
        if entry.mode == SYMLINK:
            os.symlink(objects.read(entry.sha256), path)
        else:
            objects.copy_to(entry.sha256, os.fsdecode(path), 0o755 if entry.mode == EXECUTABLE else 0o644)


def _entry(line: bytes) -> Entry:
    head, path = line.split(b"\t", 1)
    mode, sha256 = head.decode("ascii").split(" ")
    return Entry(path, mode, sha256)


def _checked_parent(path: bytes, links: set[bytes]) -> bytes:
    parts = path.split(b"/")
    parents = [b"/".join(parts[:depth]) for depth in range(1, len(parts))]
    if path.startswith(b"/") or b".." in parts or b"" in parts or b"." in parts or links.intersection(parents):
        message = f"the snapshot holds a path that leaves its directory: {os.fsdecode(path)!r}"
        raise IntegrityError(message, hint="the snapshot was tampered with; do not run it")
    return b"/".join(parts[:-1])
