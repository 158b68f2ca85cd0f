"""How the files of an environment are looked at, which is its kind's own affair, and the state they are noted in."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Optional, Protocol

from runner.worker.environment.cache import installed, rest
from runner.worker.environment.cache.pulse import watch
from runner.worker.values import dataclass


class Look(Protocol):
    """How the files of one kind of environment are looked at; the module `installed` is virtualenv's."""

    def watched(self, prefix: Path) -> "set[str]":
        """Return the paths, relative to the prefix, whose ctime a quick look compares; some may not be there."""

    def top_level(self, prefix: Path) -> "tuple[str, ...]":
        """Return the names that a stray file or a new distribution would add to."""

    def others(self, prefix: Path) -> bytes:
        """Return the files that are no content of a distribution, as `rest` lists them."""

    def contents(self, prefix: Path, names: Optional[Collection[str]] = None) -> "tuple[installed.Content, ...]":
        """Read every file of the distributions, or of those named."""


@dataclass(frozen=True)
class State:
    """What is noted of a new environment's files besides their content: a later look is compared with it."""

    watched: bytes  # paths relative to the prefix, NUL between
    pulse: str  # of the files watched
    top_level: "tuple[str, ...]"
    others: bytes


def look_of(kind: str) -> Look:
    """Return how the files of a kind of environment are looked at."""
    if kind == "conda":
        from runner.worker.environment.cache import conda_installed as conda

        return conda
    return installed


def state_of(look: Look, prefix: Path) -> State:
    """Return the state that an environment's files are in.

    It is taken before they are read, so that an edit that the reading has not seen is found by the next look.
    """
    others = look.others(prefix)
    found = {*look.watched(prefix), *rest.paths(others)}
    if (prefix / "bin").is_dir():
        found.add("bin")  # for what is added to it
    watched, pulse = watch(prefix, found)
    return State(watched, pulse, look.top_level(prefix), others)


def noted(prefix: Path) -> "tuple[tuple[installed.Content, ...], State]":
    """Read all files of a new virtual environment, and note their state meanwhile."""
    with installed.reading(prefix) as read:  # the larger part of the work, of which helpers do theirs
        state = state_of(installed, prefix)
        return read(), state
