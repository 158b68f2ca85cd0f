"""A directory as `lstat` sees it: which files there are, and in what state, without reading any."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Optional

from runner.worker.globs import expand
from runner.worker.values import dataclass

SKIPPED = frozenset({".git", "__pycache__", "node_modules", "mlruns"})
_VENV = "pyvenv.cfg"
_OTHERS = frozenset({".git", "__pycache__"})  # they change when somebody merely looks, and can be made anew
_MOST_BARE = 1_000  # directories without source that are named
_MOST = 1_000_000  # files listed; a directory beyond that is no project, and is not waited for


@dataclass(frozen=True)
class Listing:
    """The files below a directory, by their path relative to it; directories themselves are no files."""

    files: Mapping[str, os.stat_result]
    complete: bool = True
    unreadable: tuple[str, ...] = ()  # directories
    directories: tuple[str, ...] = ()  # those that were looked into
    skipped: tuple[str, ...] = ()  # those that were not: repositories, environments, caches
    written: Mapping[str, os.stat_result] = field(default_factory=dict)  # with what declared outputs name elsewhere
    places: Mapping[str, str] = field(default_factory=dict)  # of those among them that lie behind a link: absolute
    followed: frozenset[str] = frozenset()  # the links to them
    left: tuple[str, ...] = ()  # what of them was not looked at, and why


def scan(root: str, skip: Collection[str] = ()) -> Listing:
    """List regular files and symlinks; not inside ``skip`` (absolute paths), repositories, environments, caches."""
    files: dict[str, os.stat_result] = {}
    unreadable: list[str] = []
    directories: list[str] = []
    skipped: list[str] = []
    waiting = [""]
    while waiting and len(files) < _MOST:
        directory = waiting.pop()
        try:
            inner = _list(root, directory, (files, skipped), skip)
        except OSError:
            unreadable.append(directory or ".")
            continue
        if inner is not None:
            waiting += inner
            directories.append(directory)
    return Listing(files, not waiting, tuple(sorted(unreadable)), tuple(directories), tuple(skipped))


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


def scan_whole(root: str) -> Listing:
    """List all files in a declared directory, in the state of what is read: a link counts as what it leads to.

    Links to nowhere have no bytes. ``skipped`` are left out: they are written by who reads them. OSError where a
    directory cannot be read.
    """
    files: dict[str, os.stat_result] = {}
    skipped: set[str] = set()
    for path in expand(Path(root), ".", follow=True):
        if (own := kept_by_others(path)) is not None:
            skipped.add(own)
            continue
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(f"{root}/{path}")
            if stat.S_ISREG(status.st_mode):
                files[path] = status
    return Listing(files, skipped=tuple(sorted(skipped)))


def kept_by_others(path: str) -> Optional[str]:
    """Return the part of a path that names a repository's or Python's own directory, None where there is none."""
    parts = path.split("/")
    return next(("/".join(parts[: index + 1]) for index, part in enumerate(parts) if part in _OTHERS), None)


def _list(
    root: str, directory: str, found: tuple[dict[str, os.stat_result], list[str]], skip: Collection[str]
) -> Optional[list[str]]:
    """Add the files of one directory, and what is skipped of it, to ``found``; return the directories worth a look.

    None for an environment.
    """
    files, skipped = found
    prefix = f"{directory}/" if directory else ""
    with os.scandir(f"{root}/{directory}") as stream:
        entries = list(stream)
    if directory and any(entry.name == _VENV for entry in entries):
        skipped.append(directory)
        return None
    directories: list[str] = []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if f"{root}/{prefix}{entry.name}" not in skip:
                (skipped if entry.name in SKIPPED else directories).append(prefix + entry.name)
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
