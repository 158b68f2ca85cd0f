"""What declared outputs name where a look at the directory does not go: behind symlinks, and into what it skips."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from runner.worker.execution.scan import Listing, kept_by_others
from runner.worker.globs import expand, matches, remainder

_ALL = (".", "**")
_BELOW = "what lies behind the symlink {} is not taken: declare {}, if it is an output"
_OTHERS = "{} is not taken: it is a repository's, or Python's bytecode"


def reach(root: str, listing: Listing, patterns: Sequence[str], skip: Collection[str] = ()) -> Listing:
    """Return the listing of a directory with the files there that patterns name, as they are when they are opened.

    A link that a pattern names, or that lies on the way to what it names, is followed, wherever it leads; below a
    declared directory only links to files are. Never into ``skip``, nor to where the directory itself lies. A link to
    what is an output by itself stays one, wherever that really lies.
    """
    look = _Look(root, patterns, tuple(os.path.join(os.path.realpath(path), "") for path in skip))
    links = (path for path, status in listing.files.items() if stat.S_ISLNK(status.st_mode))
    # Directories first: what lies behind them decides which links to files lead to an output.
    for entrance in sorted((*listing.skipped, *links), key=look.is_file) if patterns else ():
        if not entrance.startswith("../"):  # above the project nothing is declared
            look.enter(entrance)
    seen = {path: status for path, status in listing.files.items() if path not in look.followed}
    return replace(
        listing,
        directories=(*listing.directories, *look.directories),
        written={**seen, **look.files} if look.files or look.followed else listing.files,
        places=look.places,
        followed=frozenset(look.followed),
        left=tuple(look.left),
    )


class _Look:
    """What is found, as it is found."""

    def __init__(self, root: str, patterns: Sequence[str], skip: tuple[str, ...]) -> None:
        self.root, self.patterns, self.skip = root, patterns, skip
        self.ways = {os.path.join(os.path.realpath(root), ""): ""}  # real directories, and what they are called here
        self.files: dict[str, os.stat_result] = {}
        self.places: dict[str, str] = {}
        self.followed: set[str] = set()
        self.directories: list[str] = []
        self.left: list[str] = []

    def is_file(self, path: str) -> bool:
        """Whether a path is no directory, nor leads to one."""
        return not os.path.isdir(f"{self.root}/{path}")

    def enter(self, entrance: str) -> None:
        """Take what the patterns name at, and below, a link or a directory that was skipped."""
        place = f"{self.root}/{entrance}"
        below = [rest for rest in (remainder(pattern, entrance) for pattern in self.patterns) if rest is not None]
        if not below or not os.path.exists(place):
            return
        real = os.path.realpath(place)
        if os.path.islink(place):
            if self._is_declared(real):  # what it leads to is an output by itself, and so the link is one as a link
                return
            if os.path.isfile(real) and "" in below:
                self._take(entrance)
            if not os.path.isdir(real) or not self._may_follow(entrance, real, below):
                return
            self.ways[os.path.join(real, "")] = os.path.join(entrance, "")
            self.followed.add(entrance)
            self.directories.append(entrance)
        elif kept_by_others(entrance) is not None and entrance not in self.patterns:
            if any(matches(pattern, entrance) for pattern in self.patterns if pattern not in _ALL):
                self._leave(_OTHERS.format(entrance))
            return
        for rest in below:
            self._take_all(entrance, rest)

    def _may_follow(self, link: str, real: str, below: Sequence[str]) -> bool:
        goal = os.path.join(real, "")
        if os.path.join(os.path.realpath(self.root), "").startswith(goal) or goal.startswith(self.skip):
            self._leave(f"what lies behind the symlink {link} is not taken: it leads to {real}")
            return False
        if "" in below and not any(_names(pattern, link) for pattern in self.patterns):
            self._leave(_BELOW.format(link, link))
            return False
        return True

    def _take_all(self, entrance: str, rest: str) -> None:
        pattern = f"{entrance}/{rest}" if rest else entrance
        for path in expand(Path(self.root), pattern):
            own = kept_by_others(path[len(entrance) :])
            if own is not None:
                self._leave(_OTHERS.format(entrance + own))
            elif os.path.isdir(f"{self.root}/{path}"):
                self._leave(_BELOW.format(path, path))
            else:
                self._take(path)

    def _take(self, path: str) -> None:
        place = f"{self.root}/{path}"
        real = os.path.realpath(place)
        try:
            status = os.stat(place)
        except OSError:  # gone, or a link to nowhere
            return
        if os.path.islink(place) and self._is_declared(real):
            self.files[path] = os.lstat(place)
        elif stat.S_ISREG(status.st_mode) and not real.startswith(self.skip):
            self.files[path] = status
            if real != os.path.join(os.path.realpath(self.root), path):
                self.places[path] = real
            if os.path.islink(place):
                self.followed.add(path)

    def _leave(self, reason: str) -> None:
        if reason not in self.left:
            self.left.append(reason)

    def _is_declared(self, real: str) -> bool:
        names = [name + real[len(way) :] for way, name in self.ways.items() if real.startswith(way)]
        return any(matches(pattern, name) for name in names for pattern in self.patterns)


def _names(pattern: str, path: str) -> bool:
    """Whether a pattern names a file or directory itself, and not all that lies in one above it."""
    above = os.path.dirname(path)
    return matches(pattern, path) and pattern not in _ALL and not (above and matches(pattern, above))
