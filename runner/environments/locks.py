"""The lock that decides an environment, looked over before a run is made: that it can be read, and is not stale."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from runner.errors import EnvironmentBuildError, FormatError
from runner.worker.environment.interpreters import Interpreters
from runner.worker.environment.project_lock import all_of, bound, expect_fresh
from runner.worker.environment.toml import Table, loads
from runner.worker.hashing import sha256_of
from runner.worker.spec import EnvironmentSpec

_UV_LOCK = "uv.lock"
_PYLOCK = "pylock.toml"


def refuse_unusable(project: Path, wanted: EnvironmentSpec, cache: Path, *, here: bool, upgrade: bool) -> None:
    """Raise EnvironmentBuildError where a run is bound to fail by the lock of its project.

    ``here``: on this machine. Of another one nobody knows which of several locks it takes: that is told there.
    """
    if wanted.kind == "conda" and here and not upgrade:
        from runner.worker.environment.conda.lockfile import host_platform
        from runner.worker.environment.conda.locking import fresh_locks_of

        fresh_locks_of(project, wanted, host_platform())
    elif wanted.kind == "virtualenv":
        locks = () if upgrade else all_of(project)
        interpreter = Interpreters(cache, os.environ).identify(Path(sys.executable)) if locks and here else None
        own = bound(locks, wanted, interpreter)
        if own is not None:
            _look_over(own.data, own.name, cache)
        elif wanted.source in (_UV_LOCK, _PYLOCK):
            _look_over((project / wanted.source).read_bytes(), wanted.source, cache)


def inspect(project: Path, wanted: EnvironmentSpec) -> None:
    """Raise EnvironmentBuildError where any lock of a project, for whatever platform, is damaged or stale."""
    if wanted.kind == "conda":
        from runner.worker.environment.conda.locking import fresh_locks_of

        fresh_locks_of(project, wanted)
    elif wanted.kind == "virtualenv":
        expect_fresh(project, wanted)
        for one in all_of(project):
            read(one.data, one.name)
        if wanted.source in (_UV_LOCK, _PYLOCK):
            read((project / wanted.source).read_bytes(), wanted.source)


def _look_over(data: bytes, name: str, cache: Path) -> None:
    """Read a lock, unless it has been read before: it can be long."""
    seen = cache / "locks" / f"{sha256_of(data)}.read"
    if seen.exists():
        return
    read(data, name)
    with suppress(OSError):
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.touch()


def read(data: bytes, name: str) -> None:
    """Read a lock; EnvironmentBuildError says what is wrong with it, and where."""
    if name != _UV_LOCK:
        from runner.worker.environment import pylock  # a warm run reads none

        pylock.read(data, name)
        return
    hint = "`uv lock` makes it anew"
    try:
        table = loads(data, name)
    except FormatError as error:
        raise EnvironmentBuildError(error.message, hint=hint) from None
    problem = _problem(table)
    if problem:
        raise EnvironmentBuildError(f"{name}: this is no lock of uv: {problem}", hint=hint)


def _problem(table: Table) -> str:
    packages = table.get("package", [])
    if not isinstance(table.get("version"), int):
        return "its `version` is no number"
    if not isinstance(packages, list):
        return "`package` is no list"
    nameless = [number for number, one in enumerate(packages, 1) if not isinstance(one, dict) or "name" not in one]
    return f"`package` number {nameless[0]} has no name" if nameless else ""
