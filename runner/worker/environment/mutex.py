"""One at a time: locks on files, which the kernel gives up with their holder, however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

from runner.errors import StoreError


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a file; ``waiting`` is called once where another has it."""
    descriptor = _open(path)
    try:
        if not _take(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
            waiting()
            _take(descriptor, fcntl.LOCK_EX)
        while not _is_at(descriptor, path):  # whoever held it has removed the file: others lock another one by now
            os.close(descriptor)
            descriptor = _open(path)
            _take(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def share(path: Path) -> Optional[int]:
    """Return a descriptor that holds a share of a file's lock; None where it is being taken away."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if _take(descriptor, fcntl.LOCK_SH) and _is_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Whether nobody shares a file's lock; while the block lasts nobody can."""
    descriptor = _open(path)
    try:
        yield _take(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB) and _is_at(descriptor, path)
    finally:
        os.close(descriptor)


def is_free(path: Path) -> bool:
    """Whether nobody has or shares a file's lock at this moment; nothing is made, a read-only cache can be asked."""
    for mode in (os.O_RDWR, os.O_RDONLY):  # network file systems lock alone what can be written
        try:
            descriptor = os.open(path, mode | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        except OSError:
            continue
        try:
            return _take(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
    return True


def _open(path: Path) -> int:
    try:
        while True:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileNotFoundError):  # the directory was removed between the two
                return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"cannot write to the cache at {path.parent}: {error.strerror}"
        raise StoreError(
            message, hint="free some space, or point MLRUN_CACHE at a directory you can write to"
        ) from error


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _take(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        message = f"the cache's file system cannot lock files: {error.strerror}"
        raise StoreError(message, hint="point MLRUN_CACHE at a local disk") from error
    return True
