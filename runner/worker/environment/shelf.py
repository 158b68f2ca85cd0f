"""The environments of the cache: CACHE/envs/<key>/<name>, one of them current; built once, checked, rebuilt, held."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from runner.errors import EnvironmentBuildError, FormatError, StoreError
from runner.worker.codec import decode, encode
from runner.worker.environment import installed
from runner.worker.environment.mutex import alone, locked, share
from runner.worker.facts import InstalledEnvironment
from runner.worker.files import canonical, read_json
from runner.worker.files import replace as rewrite
from runner.worker.hashing import stat_key
from runner.worker.values import dataclass

if TYPE_CHECKING:
    from runner.worker.environment.build import Built

_MARKER = "environment.json"
_GRACE = 3600.0  # seconds since its last use in which an environment is not pruned: its run may be about to start


@dataclass(frozen=True)
class Marker:
    """environment.json of a key: which directory is the whole one, and the state it was left in."""

    directory: str
    environment: InstalledEnvironment
    pulse: str  # of the files watched
    python: tuple[int, ...]  # state of the interpreter's file
    top_level: tuple[str, ...]
    digests: Mapping[str, str] = field(default_factory=dict)  # of each distribution
    version: int = 1


@dataclass(frozen=True)
class Shelved:
    """An environment of the cache, as `mlrun env list` shows it."""

    key: str
    environment: Optional[InstalledEnvironment]  # None: none that is whole
    used: float  # seconds since the epoch
    held: bool  # by a run that goes on


Build = Callable[[Path], "Built"]


def take(root: Path, build: Build, say: Callable[[str], None]) -> InstalledEnvironment:
    """Return the environment of a key's directory, built where there is none that is sound."""
    marker, fault = _look(root)
    if marker is not None and fault is None:
        return _reused(root, marker)
    with locked(root / "lock", lambda: say("waiting for another run that builds this environment")):
        marker, fault = _look(root)
        if marker is not None and fault is None:
            return _reused(root, marker)
        if fault is not None:
            say(f"the environment is built again: {fault}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(root / _MARKER)
        _sweep(root, keep="")
        return _build(root, build, fault or "first use of these packages with this interpreter")


@contextlib.contextmanager
def hold(environment: InstalledEnvironment) -> Iterator[Optional[int]]:
    """Keep an environment from being removed while the block lasts, or while a child has the descriptor given.

    EnvironmentBuildError where it was removed since it was prepared. None for what is not of the cache.
    """
    lock = Path(f"{environment.prefix}.lock")
    if environment.key is None or not lock.exists():
        _expect(environment)
        yield None
        return
    descriptor = share(lock)
    try:
        _expect(environment)
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def shelved(cache: Path) -> tuple[Shelved, ...]:
    """Return the environments of a cache, the last used first."""
    roots = [path for path in _entries(cache / "envs") if path.is_dir()]
    return tuple(sorted((_shelved(root) for root in roots), key=lambda one: -one.used))


def verify(cache: Path, key: str) -> Optional[str]:
    """Return what is wrong with an environment, every file read; None where it is as it was built."""
    root = cache / "envs" / key
    marker = _read(root)
    if isinstance(marker, str):
        return marker
    return "there is none" if marker is None else _difference(root, marker)


def remove(cache: Path, key: str, *, unused_for: float = 0.0) -> bool:
    """Remove an environment; False, and nothing is done, where a run holds it or used it in the last seconds given."""
    root = cache / "envs" / key
    if not root.is_dir():
        return False
    with locked(root / "lock", lambda: None):
        found = _shelved(root)
        if found.held or time.time() - found.used < unused_for:
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(root / _MARKER)
        _sweep(root, keep="")
    with contextlib.suppress(OSError):  # a directory that somebody builds in again is not empty
        os.unlink(root / "lock")
        root.rmdir()
    return True


def prune(cache: Path, *, unused_for: float = _GRACE) -> tuple[str, ...]:
    """Remove what no run has used for some seconds and return the keys; what is in use is left alone."""
    return tuple(one.key for one in shelved(cache) if remove(cache, one.key, unused_for=max(unused_for, _GRACE)))


def _build(root: Path, build: Build, why: str) -> InstalledEnvironment:
    prefix = root / secrets.token_hex(4)
    try:
        built = build(prefix)
        environment = replace(built.environment, key=root.name, why=why)
        watched = installed.watched(prefix)
        marker = Marker(
            directory=prefix.name,
            environment=environment,
            pulse=installed.pulse(prefix, watched),
            python=_python_state(environment),
            top_level=installed.top_level(prefix),
            digests=built.digests,
        )
        Path(f"{prefix}.watched").write_bytes(watched)
        Path(f"{prefix}.lock").touch(mode=0o600)
        rewrite(root / _MARKER, canonical(encode(marker)))
    except BaseException:
        shutil.rmtree(prefix, ignore_errors=True)
        raise
    return environment


def _reused(root: Path, marker: Marker) -> InstalledEnvironment:
    with contextlib.suppress(OSError):  # a cache that cannot be written serves all the same
        os.utime(f"{root / marker.directory}.lock")
    return replace(marker.environment, reused=True, why="built before from the same packages with the same interpreter")


def _look(root: Path) -> tuple[Optional[Marker], Optional[str]]:
    """Return the marker of a key and what is wrong with its environment: (None, None) where there never was one."""
    marker = _read(root)
    if isinstance(marker, str):
        return None, marker
    if marker is None:
        left = [path.name for path in _entries(root) if path.is_dir()]
        return None, "an earlier build was interrupted" if left else None
    return marker, _fault(root, marker)


def _read(root: Path) -> "Marker | str | None":
    try:
        return decode(Marker, read_json(root / _MARKER))
    except FileNotFoundError:
        return None
    except (FormatError, OSError, UnicodeDecodeError):
        return "its marker is damaged"


def _fault(root: Path, marker: Marker) -> Optional[str]:
    prefix = root / marker.directory
    interpreter = marker.environment.interpreter
    try:
        if _python_state(marker.environment) != marker.python:
            return f"its interpreter has changed ({interpreter.path if interpreter else ''})"
    except OSError:
        return f"its interpreter is gone ({interpreter.path if interpreter else ''})"
    pulse = ""
    with contextlib.suppress(OSError):  # a file that is gone is named by the long look
        pulse = installed.pulse(prefix, Path(f"{prefix}.watched").read_bytes())
        if pulse == marker.pulse and installed.top_level(prefix) == marker.top_level:
            return None
    fault = _difference(root, marker)
    if fault is None and pulse:  # touched, copied, linked: nothing that matters has changed
        with contextlib.suppress(OSError, StoreError):
            rewrite(root / _MARKER, canonical(encode(replace(marker, pulse=pulse))))
    return fault


def _difference(root: Path, marker: Marker) -> Optional[str]:
    """Return what differs from what was built, every listed file read."""
    prefix = root / marker.directory
    if not (prefix / "bin" / "python").exists() or not (prefix / "pyvenv.cfg").exists():
        return "it has lost its interpreter"
    now, top = {one.name: one.digest for one in installed.contents(prefix)}, installed.top_level(prefix)
    for name in sorted({*now, *marker.digests}):
        if now.get(name) != marker.digests.get(name):
            return _named(prefix, name, name in now, name in marker.digests)
    strange = sorted(set(top).symmetric_difference(marker.top_level))
    if strange:
        return f"{strange[0]} was {'added to' if strange[0] in top else 'removed from'} site-packages"
    return None


def _named(prefix: Path, name: str, is_there: bool, was_there: bool) -> str:
    if is_there and was_there:
        file = next((one.altered for one in installed.contents(prefix, {name})), None)
        return f"{name} was edited{f' ({file})' if file else ''}"
    return f"{name} was {'installed into it' if is_there else 'removed from it'}"


def _python_state(environment: InstalledEnvironment) -> tuple[int, ...]:
    return stat_key(os.stat(Path(environment.bin) / "python"))


def _sweep(root: Path, keep: str) -> None:
    """Remove what a key's directory holds besides ``keep`` and what a run holds; the key's lock is ours."""
    for path in _entries(root):
        if not path.is_dir() or path.name == keep:
            continue
        lock = Path(f"{path}.lock")
        with alone(lock) as free:
            if free:
                shutil.rmtree(path, ignore_errors=True)
                Path(f"{path}.watched").unlink(missing_ok=True)
                lock.unlink(missing_ok=True)


def _shelved(root: Path) -> Shelved:
    marker = _read(root)
    if marker is None or isinstance(marker, str):
        return Shelved(root.name, None, root.stat().st_mtime, held=False)
    lock = Path(f"{root / marker.directory}.lock")
    with alone(lock) as free:
        return Shelved(root.name, marker.environment, lock.stat().st_mtime, held=not free)


def _expect(environment: InstalledEnvironment) -> None:
    if environment.prefix and not os.path.exists(os.path.join(environment.bin, "python")):
        message = f"the environment was removed since it was prepared: {environment.prefix}"
        raise EnvironmentBuildError(message, hint="run it again")


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []
