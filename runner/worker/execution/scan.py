"""A directory as `lstat` sees it: which files there are, and in what state, without reading any."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Mapping
from typing import Optional

from runner.worker.values import dataclass

SKIPPED = frozenset({".git", "__pycache__", "node_modules", "mlruns"})
_VENV = "pyvenv.cfg"
_MOST_BARE = 1_000  # directories without source that are named
_MOST = 1_000_000  # files listed; a directory beyond that is no project, and is not waited for


@dataclass(frozen=True)
class Listing:
    """The files below a directory, by their path relative to it; directories themselves are no files."""

    files: Mapping[str, os.stat_result]
    complete: bool = True
    unreadable: tuple[str, ...] = ()  # directories
    directories: tuple[str, ...] = ()  # those that were looked into


def scan(root: str, skip: Collection[str] = ()) -> Listing:
    """List regular files and symlinks; not inside ``skip`` (absolute paths), repositories, environments, caches."""
    files: dict[str, os.stat_result] = {}
    unreadable: list[str] = []
    directories: list[str] = []
    waiting = [""]
    while waiting and len(files) < _MOST:
        directory = waiting.pop()
        try:
            inner = _list(root, directory, files, skip)
        except OSError:
            unreadable.append(directory or ".")
            continue
        if inner is not None:
            waiting += inner
            directories.append(directory)
    return Listing(files, not waiting, tuple(sorted(unreadable)), tuple(directories))


def bare(listing: Listing, source: Iterable[str]) -> tuple[str, ...]:
    """Return the directories below which no source lies: a snapshot does not bring them, and a command may need them.

    The first thousand, those near the top first.
    """
    brought = {""}
    for path in source:
        while (path := path.rpartition("/")[0]) not in brought:
            brought.add(path)
    others = [path for path in listing.directories if path not in brought]
    return tuple(sorted(others, key=lambda path: (path.count("/"), path))[:_MOST_BARE])


def _list(root: str, directory: str, files: dict[str, os.stat_result], skip: Collection[str]) -> Optional[list[str]]:
    """Add the files of one directory to ``files``; return those in it worth a look, None for an environment."""
    prefix = f"{directory}/" if directory else ""
    with os.scandir(f"{root}/{directory}") as stream:
        entries = list(stream)
    if directory and any(entry.name == _VENV for entry in entries):
        return None
    directories = []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in SKIPPED and f"{root}/{prefix}{entry.name}" not in skip:
                directories.append(prefix + entry.name)
            continue
        if entry.name == ".git":  # of a submodule or a worktree: it leads to the user's own repository
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # gone since it was listed
            continue
        if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            files[prefix + entry.name] = status
    return directories
