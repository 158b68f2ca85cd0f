"""Whose a committed lock is: which of a project's environments it was made for, and what that has in its name."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from runner.errors import EnvironmentBuildError
from runner.worker.spec import EnvironmentSpec


def is_of(source: str, wanted: EnvironmentSpec) -> bool:
    """Whether a lock is of an environment, stale or not; ``source`` is the file that asked, "" where nobody knows."""
    return not source or posixpath.normpath(source) == posixpath.normpath(wanted.source)


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
