"""The lock that decides an environment, looked over before a run is made: that it can be read, and is not stale."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from runner.errors import EnvironmentBuildError, FormatError
from runner.worker.environment.interpreters.identity import Interpreters
from runner.worker.environment.locks.project_lock import all_of, bound, expect_fresh, sound
from runner.worker.hashing import sha256_of
from runner.worker.spec import EnvironmentSpec

_FOREIGN = {"uv.lock": ("uv.lock", "pyproject.toml"), "pylock.toml": ("pylock.toml",)}  # and what each is compared with


def refuse_unusable(project: Path, wanted: EnvironmentSpec, cache: Path, *, here: bool, upgrade: bool) -> None:
    """Raise EnvironmentBuildError where a run is bound to fail by the lock of its project.

    ``here``: on this machine. Of another one nobody knows which of several locks it takes: that is told there.
    """
    if wanted.kind == "conda" and here and not upgrade:
        from runner.worker.environment.conda.lockfile import host_platform
        from runner.worker.environment.conda.locking import fresh_locks_of

        fresh_locks_of(project, wanted, host_platform())
    elif wanted.kind == "container" and not upgrade and not wanted.build:
        _expect_image(project, wanted)
    elif wanted.kind == "virtualenv":
        locks = () if upgrade else all_of(project)
        interpreter = Interpreters(cache, os.environ).identify(Path(sys.executable)) if locks and here else None
        own = bound(locks, wanted, interpreter)
        texts = _foreign(project, wanted) if own is None else (own.data,)
        if texts:
            _look_over(wanted.source if own is None else own.name, texts, cache)


def deciding(project: Path, wanted: EnvironmentSpec) -> str:
    """Return the lock in a project that decides an environment, whatever was uploaded since; "" where none does."""
    names: tuple[str, ...] = ()
    if wanted.kind == "conda":
        from runner.worker.environment.conda.locking import names_of

        names = names_of(project, wanted)
    elif wanted.kind == "virtualenv":
        names = tuple(one.name for one in sound(project) if one.is_of(wanted))
        names += (wanted.source,) if wanted.source in _FOREIGN else ()
    return next(iter(names), "")


def inspect(project: Path, wanted: EnvironmentSpec) -> None:
    """Raise EnvironmentBuildError where any lock of a project, for whatever platform, is damaged or stale."""
    if wanted.kind == "conda":
        from runner.worker.environment.conda.locking import fresh_locks_of

        fresh_locks_of(project, wanted)
    elif wanted.kind == "container":
        _expect_image(project, wanted)
    elif wanted.kind == "virtualenv":
        expect_fresh(project, wanted)
        for one in all_of(project):
            _read(one.name, (one.data,))
        texts = _foreign(project, wanted)
        if texts:
            _read(wanted.source, texts)


def _expect_image(project: Path, wanted: EnvironmentSpec) -> None:
    from runner.worker.containers.lock import of_project

    try:
        of_project(project, wanted.image or "")
    except FormatError as error:
        raise EnvironmentBuildError(error.message, hint=error.hint) from None


def _foreign(project: Path, wanted: EnvironmentSpec) -> tuple[bytes, ...]:
    """Return the lock of another tool that a project has, and what is beside it to compare it with."""
    return tuple((project / name).read_bytes() for name in _FOREIGN.get(wanted.source, ()))


def _look_over(name: str, texts: tuple[bytes, ...], cache: Path) -> None:
    """Read a lock, unless it has been read before: it can be long."""
    seen = cache / "locks" / f"{sha256_of(b'|'.join(texts))}.read"
    if seen.exists():
        return
    _read(name, texts)
    with suppress(OSError):
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.touch()


def _read(name: str, texts: tuple[bytes, ...]) -> None:
    """Read a lock; EnvironmentBuildError says what is wrong with it, and where."""
    from runner.environments import uv_lock  # a warm run reads none
    from runner.worker.environment.locks import pylock

    if name == uv_lock.NAME:
        uv_lock.expect_usable(*texts)
    else:
        pylock.read(texts[0], name)
