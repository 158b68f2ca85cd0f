"""What the environments of the cache cost and who uses them; and how they go, with what else was fetched, when asked.

Those in use stay.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Optional, Union

from runner.worker.environment.cache.shelf import sweep, tidy
from runner.worker.environment.cache.slot import Slot, Use, held_by, size_of, slots, uses
from runner.worker.environment.cache.soundness import broken, difference
from runner.worker.environment.cache.waiting import is_awaited
from runner.worker.environment.mutex import alone, is_free
from runner.worker.environment.provisions import Provision, discard, provisions
from runner.worker.facts import InstalledEnvironment
from runner.worker.stat_cache import StatCache
from runner.worker.values import dataclass

_GRACE = 3600.0  # seconds since its last use in which an environment is not pruned: its run may be about to start


@dataclass(frozen=True)
class Shelved:
    """An environment of the cache, as `mlrun env list` shows it."""

    key: str
    environment: Optional[InstalledEnvironment]  # None: none that is whole
    used: float  # seconds since the epoch
    held: bool  # by a run that goes on
    fault: Optional[str] = None  # why its next use builds it again, as far as that is seen without looking at each file
    uses: tuple[Use, ...] = ()  # the last first
    size: int = 0  # bytes on the disk


@dataclass(frozen=True)
class Pruned:
    """What pruning removed, or would, and what it has to leave."""

    removed: tuple[Shelved, ...]
    kept: tuple[Shelved, ...]
    provisions: tuple[Provision, ...] = ()  # removed: archives and the like
    left: int = 0  # bytes of all that is kept


def shelved(cache: Path, *, sizes: bool = False) -> tuple[Shelved, ...]:
    """Return the environments of a cache, the last used first; their sizes take a look at each file."""
    return tuple(
        sorted(
            (_shelved(slot, building=not is_free(slot.lock), sizes=sizes) for slot in slots(cache)),
            key=lambda one: -one.used,
        )
    )


def verify(cache: Path, key: str) -> Optional[str]:
    """Return what is wrong with an environment, every file read; None where it is as it was built."""
    slot = Slot(cache / "envs" / key)
    marker = slot.read()
    if isinstance(marker, str):
        return marker
    if marker is None:
        return "a build was interrupted" if slot.prefixes() else "there is none"
    return broken(slot, marker) or difference(slot, marker)


def remove(cache: Path, key: str, *, unused_for: float = 0.0) -> bool:
    """Remove an environment; False, and nothing is done, where a run holds it or used it in the last seconds given.

    One that is being built right now counts as held.
    """
    slot = Slot(cache / "envs" / key)
    if not slot.root.is_dir():
        return False
    with alone(slot.lock) as free:
        if not free:
            return False
        found = _shelved(slot, building=False)
        if found.held or time.time() - found.used < unused_for:
            return False
        slot.forget()
        sweep(slot)
        with contextlib.suppress(OSError):  # what was edited while a run held it stays until that run has ended
            if not slot.prefixes():
                slot.lock.unlink()
    with contextlib.suppress(OSError):  # a directory that somebody builds in again is not empty
        slot.root.rmdir()
    return True


def prune(
    cache: Path,
    *,
    unused_for: Optional[float] = None,
    keep: Optional[int] = None,
    read: Iterable[str] = (),
    dry_run: bool = False,
) -> Pruned:
    """Remove what can no longer be used, what no run used for some seconds, and the longest unused beyond a size.

    ``keep`` is in bytes. What a run holds, and what was used in the last hour, is left alone; so is what lies at, or
    above, one of the paths ``read``: runs that go on read those. What environments and runs are made from counts as
    environments do.
    """
    found, stock = shelved(cache, sizes=True), provisions(cache)
    needed = {each for one in read for path in _names_of(one) for each in (path, *path.parents)}
    condemned = [one for one in _condemned((*found, *stock), unused_for, keep) if _may_go(one, needed)]
    gone = {id(one) for one in condemned if dry_run or _remove(cache, one)}
    if not dry_run:
        for slot in slots(cache):
            tidy(slot)
        StatCache(cache / "stat.sqlite").forget_lost()
    return Pruned(
        removed=tuple(one for one in found if id(one) in gone),
        kept=tuple(one for one in found if id(one) not in gone),
        provisions=tuple(one for one in stock if id(one) in gone),
        left=sum(one.size for each in (found, stock) for one in each if id(one) not in gone),
    )


def _condemned(
    found: "Iterable[Union[Shelved, Provision]]", unused_for: Optional[float], keep: Optional[int]
) -> "list[Union[Shelved, Provision]]":
    now, room = time.time(), keep
    condemned = []
    for one in sorted(found, key=lambda one: -one.used):  # the last used get the room there is
        old = unused_for is not None and now - one.used >= unused_for
        if room is not None:
            room -= 0 if one.fault else one.size
        if one.fault or old or (room is not None and room < 0):
            condemned.append(one)
    return condemned


def _may_go(one: "Union[Shelved, Provision]", needed: "set[Path]") -> bool:
    if isinstance(one, Shelved) and (one.held or one.environment is None):
        return not one.held
    if time.time() - one.used < _GRACE:
        return False
    return isinstance(one, Shelved) or not (needed.intersection(_names_of(one.path)) or one.held)


def _names_of(path: "str | Path") -> "set[Path]":
    """Return a path as it is written, and without links: a cache may be reached by several names."""
    return {Path(os.path.normpath(path)), Path(os.path.realpath(path))}


def _remove(cache: Path, one: "Union[Shelved, Provision]") -> bool:
    if isinstance(one, Provision):
        return discard(one, _GRACE)
    return remove(cache, one.key, unused_for=0.0 if one.environment is None else _GRACE)


def _shelved(slot: Slot, *, building: bool, sizes: bool = False) -> Shelved:
    marker = slot.read()
    size = size_of(slot.root) if sizes else 0
    if marker is None or isinstance(marker, str):
        reason = "it is being built" if building else marker or "a build was interrupted"
        return Shelved(slot.key, None, slot.root.stat().st_mtime, building, reason, size=size)
    prefix = slot.prefix(marker)
    lock = held_by(prefix)
    return Shelved(
        slot.key,
        marker.environment,
        (lock if lock.exists() else slot.root).stat().st_mtime,
        held=is_awaited(prefix) or not all(is_free(held_by(one)) for one in slot.prefixes()),
        fault=broken(slot, marker),
        uses=uses(prefix),
        size=size,
    )
