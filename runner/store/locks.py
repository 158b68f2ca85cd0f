"""Who may add objects and who may remove them: many at a time the one, one at a time the other."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import StoreError

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}


@contextmanager
def shared(root: Path) -> Iterator[None]:
    """Hold a store against the removal of objects; several may at a time. StoreError where it cannot be written."""
    descriptor = _open(root)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        except OSError as error:  # where there are no locks, nobody gets the exclusive one either
            if error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(root: Path, patience: float) -> Iterator[None]:
    """Hold a store alone; StoreError where others hold it for longer than ``patience`` s, or where it has no locks."""
    descriptor = _open(root)
    try:
        _wait(descriptor, root, time.monotonic() + patience)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def settling(directory: Path) -> Iterator[None]:
    """Hold the directory of an ended run, to bring files there or to seal them: nobody seals what is half brought.

    Where no lock can be had, nobody waits for anybody.
    """
    path = directory / ".settling"  # gone in the end, and named by no list of the run's files
    descriptor = _claim(path)
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _claim(path: Path) -> int | None:
    while True:
        descriptor = None
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except FileNotFoundError:  # who held it before us took it away
            if not path.parent.exists():
                return None
        except OSError:
            if descriptor is not None:
                os.close(descriptor)
            return None
        if descriptor is not None:
            os.close(descriptor)


def _open(root: Path) -> int:
    try:
        return os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"cannot write to the store at {root}: {error.strerror}"
        raise StoreError(message, hint="point MLRUN_HOME at a directory you can write to") from None


def _wait(descriptor: int, root: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                message = "runs are being started just now, and garbage is not collected meanwhile"
                raise StoreError(message, hint="try again in a moment") from None
            time.sleep(0.05)
        except OSError as error:
            message = f"the file system of {root} has no locks: {error.strerror}"
            raise StoreError(message, hint="collect garbage on a host where the store is on a local disk") from None
        else:
            return
