"""The environments of the cache: CACHE/envs/<key>/<name>, one of them current; built once, checked, rebuilt, held."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Callable, Optional

from runner.errors import EnvironmentBuildError
from runner.worker.environment.cache.look import State
from runner.worker.environment.cache.slot import Marker, Slot, Use, held_by, note, others_of, uses_of, watched_of
from runner.worker.environment.cache.soundness import fault, python_state
from runner.worker.environment.mutex import alone, locked, share
from runner.worker.facts import InstalledEnvironment
from runner.worker.hashing import sha256_of
from runner.worker.processes import boot_id
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Built:
    """A new environment, the digest of each of its distributions, and the state of its files."""

    environment: InstalledEnvironment
    digests: Mapping[str, str]
    state: State


Build = Callable[[Path], Built]


@dataclass(frozen=True)
class Order:
    """What is asked of the shelf: how it is built where it is not there, why that has to be, and what it is made of."""

    build: Build
    why: Callable[[], str] = lambda: "first use of these packages with this interpreter"
    made_of: Mapping[str, str] = field(default_factory=dict)


def take(root: Path, order: Order, say: Callable[[str], None]) -> InstalledEnvironment:
    """Return the environment of a key's directory, built where there is none that is sound."""
    slot = Slot(root)
    marker, reason = look(slot)
    if marker is not None and reason is None:
        return _reused(slot, marker)
    with locked(slot.lock, lambda: say("waiting for another run that builds this environment")):
        marker, reason = look(slot)
        if marker is not None and reason is None:
            return _reused(slot, marker)
        if reason is not None:
            say(f"note: the environment is built again: {reason}")
        slot.forget()
        sweep(slot)
        environment = _build(slot, order, reason or order.why())
        sweep(slot, keep=os.path.basename(environment.prefix))  # uv may have outlived its worker, and written on
        return environment


@contextlib.contextmanager
def hold(environment: InstalledEnvironment, use: Optional[Use] = None) -> Iterator[Optional[int]]:
    """Keep an environment from being removed while the block lasts, or while a child has the descriptor given.

    EnvironmentBuildError where it was removed since it was prepared. None for what is not of the cache. ``use`` is
    who uses it, for those who ask later.
    """
    lock = held_by(environment.prefix)
    if environment.key is None or not lock.exists():
        _expect(environment)
        yield None
        return
    descriptor = share(lock)
    try:
        _expect(environment)
        if use is not None:
            note(environment.prefix, use)
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def look(slot: Slot) -> tuple[Optional[Marker], Optional[str]]:
    """Return the marker of a key and what is wrong with its environment: (None, None) where there never was one."""
    marker = slot.read()
    if isinstance(marker, str):
        return None, marker
    if marker is None:
        return None, "an earlier build was interrupted" if slot.prefixes() else None
    return marker, fault(slot, marker)


def sweep(slot: Slot, keep: str = "") -> None:
    """Remove the environments of a key that no run holds, but for one; the key's lock is ours."""
    for prefix in slot.prefixes():
        if prefix.name == keep:
            continue
        lock = held_by(prefix)
        with alone(lock) as free:
            if free:
                shutil.rmtree(prefix, ignore_errors=True)
                _remove_beside(prefix)
    for left in slot.litter():
        left.unlink(missing_ok=True)


def tidy(slot: Slot) -> None:
    """Remove what killed builds and edited environments have left beside a whole one, unless somebody works here."""
    with alone(slot.lock) as free:
        marker = slot.read() if free else None
        if isinstance(marker, Marker):
            sweep(slot, keep=marker.directory)


def _remove_beside(prefix: Path) -> None:
    for file in (watched_of(prefix), others_of(prefix), uses_of(prefix), held_by(prefix)):
        file.unlink(missing_ok=True)


def _build(slot: Slot, order: Order, why: str) -> InstalledEnvironment:
    prefix = slot.root / secrets.token_hex(4)
    try:
        built = order.build(prefix)
        environment = replace(built.environment, key=slot.key, why=why)
        marker = Marker(
            directory=prefix.name,
            environment=environment,
            pulse=built.state.pulse,
            python=python_state(environment),
            top_level=built.state.top_level,
            digests=built.digests,
            made_of=order.made_of,
            others=sha256_of(built.state.others),
            boot=boot_id(),
        )
        watched_of(prefix).write_bytes(built.state.watched)
        others_of(prefix).write_bytes(built.state.others)
        held_by(prefix).touch(mode=0o600)
        slot.write(marker)
    except BaseException:
        shutil.rmtree(prefix, ignore_errors=True)
        _remove_beside(prefix)
        raise
    return environment


def _reused(slot: Slot, marker: Marker) -> InstalledEnvironment:
    with contextlib.suppress(OSError):  # a cache that cannot be written serves all the same
        held_by(slot.prefix(marker)).touch(mode=0o600)
    return replace(marker.environment, reused=True, why="built before from the same packages with the same interpreter")


def _expect(environment: InstalledEnvironment) -> None:
    sign = os.path.join(environment.bin, "python") if environment.interpreter else environment.prefix
    if environment.prefix and not os.path.exists(sign):
        message = f"the environment was removed since it was prepared: {environment.prefix}"
        raise EnvironmentBuildError(message, hint="run it again")
