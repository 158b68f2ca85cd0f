"""Temporary trees in the cache: held by a lock while they are in use, swept by the next process when it is gone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from runner.errors import StoreError

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@contextlib.contextmanager
def temporary(cache: Path) -> Iterator[Path]:
    """Make an empty directory that is removed at the end, or, after a kill, by whoever comes next."""
    place = make(cache / "trees")
    _sweep(place)
    home, descriptor = _claimed(place)
    try:
        yield make(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        _lock_of(home).unlink(missing_ok=True)
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock file. Where a file system has no locks, nobody waits for anybody."""
    descriptor = _open(path)
    try:
        _flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make(directory: Path) -> Path:
    """Make a directory of the cache, for its owner only; StoreError where that cannot be."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error) from error
    return directory


def _lock_of(home: Path) -> Path:
    return home.with_suffix(".lock")


def _claimed(place: Path) -> tuple[Path, int]:
    """Return a new name and its lock, held. A sweeper may take the lock file between its making and its locking."""
    while True:
        home = place / secrets.token_hex(8)
        descriptor = _open(_lock_of(home))
        _flock(descriptor, fcntl.LOCK_EX)
        if _is_still(_lock_of(home), descriptor):
            return home, descriptor
        os.close(descriptor)


def _sweep(place: Path) -> None:
    """Remove what nobody holds."""
    for lock in place.glob("*.lock"):
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        if _flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB) and _is_still(lock, descriptor):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from error


def _flock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return not operation & fcntl.LOCK_NB
    return True


def _unwritable(path: Path, error: OSError) -> StoreError:
    message = f"cannot write to the cache at {path}: {error.strerror}"
    return StoreError(message, hint="free some space, or point MLRUN_CACHE at a directory you can write to")
