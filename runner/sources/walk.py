"""The files of a directory that no git speaks for: all but what tools keep in it for themselves."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from runner.worker.facts import Gap

SKIPPED = frozenset({"__pycache__", "node_modules", "mlruns"})
_SKIPPED = frozenset(os.fsencode(name) for name in SKIPPED)


def files(root: Path, skip: Iterable[Path] = (), *, everything: bool = False) -> tuple[list[bytes], list[Gap]]:
    """Return the files and links below a directory, relative to it, and what could not be read.

    ``everything``: of a tree that was just made out of a commit or an archive nothing is skipped.
    """
    top = os.fsencode(root)
    avoid = frozenset() if everything else frozenset(os.fsencode(path) for path in skip)
    found: list[bytes] = []
    gaps: list[Gap] = []
    waiting = [b""]
    while waiting:
        inner = waiting.pop()
        try:
            with os.scandir(os.path.join(top, inner)) as scan:
                entries = list(scan)
        except OSError as error:
            gaps.append(_gap(inner, error.strerror or "error"))
            continue
        if not everything and inner and any(entry.name == b"pyvenv.cfg" for entry in entries):
            continue
        for entry in entries:
            if everything or not _is_skipped(entry, avoid):
                _sort(entry, inner + b"/" + entry.name if inner else entry.name, found, waiting, gaps)
    return found, gaps


def virtual_environments(paths: Sequence[bytes]) -> list[bytes]:
    """Return paths without those that lie in a virtual environment, known by the pyvenv.cfg among them."""
    homes = {path[: -len(b"pyvenv.cfg")] for path in paths if path.endswith(b"/pyvenv.cfg")}
    if not homes:
        return list(paths)
    return [path for path in paths if not path.startswith(tuple(homes))]


def _is_skipped(entry: os.DirEntry[bytes], avoid: frozenset[bytes]) -> bool:
    if entry.name == b".git" or entry.path in avoid:
        return True
    return entry.name in _SKIPPED and entry.is_dir(follow_symlinks=False)


def _sort(entry: os.DirEntry[bytes], path: bytes, found: list[bytes], waiting: list[bytes], gaps: list[Gap]) -> None:
    if entry.is_dir(follow_symlinks=False):
        waiting.append(path)
    elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
        found.append(path)
    else:
        gaps.append(_gap(path, _special(entry)))


def _special(entry: os.DirEntry[bytes]) -> str:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:
        return "gone"
    kinds = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a device",
        stat.S_IFCHR: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def _gap(path: bytes, reason: str) -> Gap:
    return Gap("code.snapshot", f"left out {os.fsdecode(path) or '.'!r}: {reason}")
