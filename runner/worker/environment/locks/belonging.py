"""Whose a committed lock is: which of a project's environments it answers to, and what that has in its name."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Protocol

from runner.errors import EnvironmentBuildError
from runner.worker.files import Json, canonical
from runner.worker.hashing import sha256_of
from runner.worker.spec import EnvironmentSpec


class Answer(Protocol):
    """What a committed lock says of itself, of whatever kind it is."""

    @property
    def source(self) -> str:
        """The file that asked for the environment; "" where nobody knows."""

    @property
    def specification(self) -> str:
        """The digest of what was asked."""


def specification(wanted: EnvironmentSpec) -> str:
    """Return the digest of what a lock answers to, on whatever host."""
    deciding: Json = {
        "files": {file.path: file.sha256 for file in wanted.files},
        "python": wanted.python,
        "requirements": list(wanted.requirements),
        "build": list(wanted.build_requirements),
    }
    return sha256_of(canonical(deciding))


def is_of(lock: Answer, wanted: EnvironmentSpec) -> bool:
    """Whether a lock was made for an environment, stale or not: entry points may have environments of their own."""
    is_its_file = not lock.source or posixpath.normpath(lock.source) == posixpath.normpath(wanted.source)
    return is_its_file or lock.specification == specification(wanted)


def expect_fresh(name: str, lock: Answer, wanted: EnvironmentSpec) -> None:
    """Raise EnvironmentBuildError where the environment files have changed since."""
    if lock.specification != specification(wanted):
        message = f"{name} is stale: the environment files have changed since `mlrun lock` wrote it"
        hint = "`mlrun lock` brings it up to date; `--upgrade` runs without it, once"
        raise EnvironmentBuildError(message, hint=hint)


def is_left_behind(source: str, project: Path) -> bool:
    """Whether the file that asked for a lock is gone: it has another name now, or its entry point is no more."""
    return bool(source) and not (project / source).exists()


def words_of(wanted: EnvironmentSpec) -> "tuple[str, ...]":
    """Return what tells the lock of an environment by its name from the first one's; PEP 751 forbids dots in it."""
    source = posixpath.normpath(wanted.source)
    words = (posixpath.splitext(source)[0], source)
    return tuple("-" + re.sub(r"\W+", "-", word).strip("-") for word in words)


def of_another(name: str, source: str, wanted: EnvironmentSpec) -> EnvironmentBuildError:
    """Return why a run stops where other environments of its project are locked: it would drift, and they not."""
    message = f"{name} is for the environment of {source}, and this one is of {wanted.source or 'no environment file'}"
    hint = "`mlrun lock` writes a lock for this one (`-e NAME`: an entry point's); `--upgrade` runs without, once"
    return EnvironmentBuildError(message, hint=hint)


def no_room(wanted: EnvironmentSpec, taken: "list[str]") -> EnvironmentBuildError:
    """Return why there is no name for a lock."""
    message = f"the names for a lock of {wanted.source} are all taken: {', '.join(taken)}"
    return EnvironmentBuildError(message, hint="remove those that are needed no more, then `mlrun lock`")
