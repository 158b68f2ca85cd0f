"""A directory as `lstat` sees it: which files there are, and in what state, without reading any."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping

from runner.worker.values import dataclass

SKIPPED = frozenset({".git", "__pycache__", "node_modules", "mlruns"})
_VENV = "pyvenv.cfg"
_MOST = 1_000_000  # files listed; a directory beyond that is no project, and is not waited for


@dataclass(frozen=True)
class Listing:
    """The files below a directory, by their path relative to it; directories themselves are no files."""

    files: Mapping[str, os.stat_result]
    complete: bool = True
    unreadable: tuple[str, ...] = ()  # directories


def scan(root: str, skip: Collection[str] = ()) -> Listing:
    """List regular files and symlinks; not inside ``skip`` (absolute paths), repositories, environments, caches."""
    files: dict[str, os.stat_result] = {}
    unreadable: list[str] = []
    waiting = [""]
    while waiting and len(files) < _MOST:
        directory = waiting.pop()
        try:
            waiting += _list(root, directory, files, skip)
        except OSError:
            unreadable.append(directory or ".")
    return Listing(files, not waiting, tuple(sorted(unreadable)))


def _list(root: str, directory: str, files: dict[str, os.stat_result], skip: Collection[str]) -> list[str]:
    """Add the files of one directory to ``files``; return the directories in it that are worth a look."""
    prefix = f"{directory}/" if directory else ""
    with os.scandir(f"{root}/{directory}") as stream:
        entries = list(stream)
    if directory and any(entry.name == _VENV for entry in entries):
        return []
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
