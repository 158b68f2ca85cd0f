"""The manifest of a snapshot: (mode, sha256, path) of every source file; its own digest names the snapshot."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from runner.errors import FormatError, IntegrityError
from runner.worker.objects import Objects

FILE = "100644"
EXECUTABLE = "100755"
SYMLINK = "120000"  # its object holds the target's text
_LINE = re.compile(rb"(100644|100755|120000) ([0-9a-f]{64})\t((?s:.)+)")


@dataclass(frozen=True, order=True)
class Entry:
    """A source file; ``path`` is POSIX, relative to the snapshot's root, in the bytes the file system has."""

    path: bytes
    mode: str
    sha256: str


def encode_manifest(entries: Iterable[Entry]) -> bytes:
    """Return the manifest's bytes: `mode SP sha256 TAB path NUL`, sorted by path (as `git ls-tree -z` has it)."""
    ordered = sorted(entries, key=lambda entry: entry.path)
    return b"".join([b"%b %b\t%b\0" % (e.mode.encode(), e.sha256.encode(), e.path) for e in ordered])


def decode_manifest(data: bytes) -> tuple[Entry, ...]:
    """Return the entries of a manifest; FormatError where it is not one."""
    lines = data.split(b"\0")
    matches = [_LINE.fullmatch(line) for line in lines[:-1]]
    if lines[-1] or None in matches:
        message = "a snapshot's manifest is damaged"
        raise FormatError(message, hint="`mlrun verify` names the object")
    return tuple(Entry(match[3], match[1].decode(), match[2].decode()) for match in matches if match)


def inside(entries: Iterable[Entry], subdirectory: str) -> dict[str, str]:
    """Return the digests of a snapshot's files below a directory of it ("" for its root), by path relative to that."""
    prefix = f"{subdirectory}/" if subdirectory else ""
    paths = ((os.fsdecode(entry.path), entry.sha256) for entry in entries)
    return {path[len(prefix) :]: sha256 for path, sha256 in paths if path.startswith(prefix)}


def followed(entries: Iterable[Entry], objects: Objects) -> tuple[Entry, ...]:
    """Return what opening a snapshot's paths gives: a link is what it leads to, and nothing where that is outside."""
    entries = tuple(entries)
    files = {entry.path: entry for entry in entries if entry.mode != SYMLINK}
    goals = {
        entry.path: os.path.normpath(os.path.join(os.path.dirname(entry.path), objects.read(entry.sha256)))
        for entry in entries
        if entry.mode == SYMLINK and objects.has(entry.sha256)
    }
    found = dict(files)
    for path in goals:
        goal = path
        for _ in goals:  # from link to link, and never for ever
            goal = goals.get(goal, goal)
        if goal in files:
            found[path] = replace(files[goal], path=path)
        elif not path.startswith(goal + b"/"):
            below = (entry for entry in files.values() if entry.path.startswith(goal + b"/"))
            found.update({path + entry.path[len(goal) :]: entry for entry in below})
    return tuple(replace(entry, path=path) for path, entry in sorted(found.items()))


def changed(before: Iterable[Entry], after: Iterable[Entry]) -> dict[bytes, tuple[Optional[Entry], Optional[Entry]]]:
    """Return the files in which two snapshots differ, by path and in that order: before, after."""
    old, new = ({entry.path: entry for entry in entries} for entries in (before, after))
    pairs = {path: (old.get(path), new.get(path)) for path in sorted(old.keys() | new.keys())}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


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


def _checked_parent(path: bytes, links: set[bytes]) -> bytes:
    parts = path.split(b"/")
    parents = [b"/".join(parts[:depth]) for depth in range(1, len(parts))]
    if path.startswith(b"/") or b".." in parts or b"" in parts or b"." in parts or links.intersection(parents):
        message = f"the snapshot holds a path that leaves its directory: {os.fsdecode(path)!r}"
        raise IntegrityError(message, hint="the snapshot was tampered with; do not run it")
    return b"/".join(parts[:-1])
