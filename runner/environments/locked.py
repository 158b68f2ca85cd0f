"""A lock in a project's directory: what is asked of it, what is said of it, and how it is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from runner.errors import ProjectError, StoreError
from runner.worker.files import replace as rewrite
from runner.worker.values import dataclass


@dataclass(frozen=True)
class LockAsk:
    """What a user asks of `mlrun lock`."""

    manager: str | None = None
    platforms: tuple[str, ...] = ()  # none: this host's, and those whose locks lie in the project
    python: str | None = None
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    exclude_newer: str | None = None


@dataclass(frozen=True)
class Locked:
    """The lock that was written, or left because nothing has changed."""

    path: Path
    packages: int = 0
    python: str = ""  # the version it is for
    platform: str = ""
    changed: bool = False
    warnings: tuple[str, ...] = ()
    image: str = ""  # a container's: sha256:...


def written(made: Iterable[tuple[Locked, bytes]], warnings: tuple[str, ...]) -> tuple[Locked, ...]:
    """Write the locks of a project, those of all its platforms or none: one that is left behind would be stale."""
    done = tuple(made)
    for one, data in done:
        if one.changed:
            write(one.path, data)
    return tuple(replace(one, warnings=warnings) for one, _ in done)


def write(path: Path, data: bytes) -> None:
    """Write a lock whole; ProjectError where that may not be."""
    try:
        rewrite(path, data, mode=0o644)
    except StoreError as error:
        raise ProjectError(error.message, hint="`mlrun lock` writes into the project: see that you may") from error
