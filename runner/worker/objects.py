"""The content store: bytes named by their sha256, read-only, shared by all runs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from runner.errors import IntegrityError, StoreError
from runner.worker.hashing import open_regular, sha256_of_file

if TYPE_CHECKING:
    from runner.worker.hashing import AnyPath

_CHUNK = 1 << 20
_ASIDE = "tmp"
_MANY = 32  # objects: above it one sync of everything costs less than one for each
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file, copied when written to


class Objects:
    """The objects under one directory: ``objects/sha256/ab/cdef...``."""

    def __init__(self, root: Path) -> None:
        """Name the directory; it is made when the first object comes."""
        self.root = root / "sha256"
        self._unsynced: list[str] = []

    def path(self, sha256: str) -> Path:
        """Return where an object lies, whether it is there or not."""
        return self.root / sha256[:2] / sha256[2:]

    def has(self, sha256: str, size: Optional[int] = None) -> bool:
        """Whether the object is there; with ``size``, whether it is whole: a crash of the machine cuts short."""
        try:
            status = os.stat(self._name(sha256))
        except OSError:
            return False
        return size is None or status.st_size == size

    def add(self, data: bytes) -> str:
        """Store bytes and return their digest."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self._is_kept(sha256, len(data)):
            with self._aside() as (temporary, stream):
                _write(stream, data)
                stream.close()
                self._settle(temporary, sha256)
        return sha256

    def add_file(self, source: AnyPath, expected: Optional[str] = None) -> str:
        """Store a file's bytes and return their digest; with the digest known and there, nothing is read.

        OSError where ``source`` cannot be read, or is no regular file; StoreError where the store cannot be written.
        """
        if expected is not None and self._is_kept(expected):
            return expected
        with open_regular(source) as origin:
            block = origin.read(_CHUNK)
            if len(block) < _CHUNK and not origin.read(1):
                return self.add(block)
            origin.seek(0)
            return self._add_stream(origin)

    def adopt(self, source: AnyPath, status: os.stat_result) -> str:
        """Have a file's bytes in the store under both names, without a copy where that can be; return their digest.

        The file becomes read-only, and as young as an object that was just added. It has to be one that nobody else
        writes to: ``status`` is its lstat. Errors are those of ``add_file``.
        """
        if status.st_nlink != 1 or status.st_uid != os.geteuid():
            return self.add_file(source)
        sha256 = sha256_of_file(source)
        if self._is_kept(sha256, status.st_size):
            return sha256
        target = self._name(sha256)
        try:
            os.chmod(source, stat.S_IMODE(status.st_mode) & 0o555 | stat.S_IRUSR)
            os.utime(source)
            try:
                os.link(source, target)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.link(source, target)
        except OSError:  # another file system, or one without hard links; damage, or another run's, in its place
            return self.add_file(source)
        self._unsynced.append(target)
        return sha256

    def sync(self) -> None:
        """Return when everything that was added has reached the disk; the next to name it may rely on it."""
        if len(self._unsynced) > _MANY:
            os.sync()
        else:
            for path in self._unsynced:
                with contextlib.suppress(FileNotFoundError):
                    _sync(path)
        self._unsynced.clear()

    def read(self, sha256: str) -> bytes:
        """Return an object's bytes, checked; IntegrityError where they are missing or changed."""
        try:
            data = self.path(sha256).read_bytes()
        except FileNotFoundError:
            message = f"the object {sha256[:12]} is not in the store ({self.root})"
            raise IntegrityError(message, hint="`mlrun verify` names the runs that need it") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            message = f"the object {sha256[:12]} was changed: {self.path(sha256)}"
            raise IntegrityError(message, hint="restore the file, or remove it and run again from the source")
        return data

    def copy_to(self, sha256: str, target: os.PathLike[str] | str, mode: int = 0o644) -> None:
        """Make a file of an object's bytes, checked while they are copied; IntegrityError leaves no file."""
        digest = hashlib.sha256()
        try:
            with open(self.path(sha256), "rb", buffering=0) as origin, open(target, "xb", buffering=0) as stream:
                while block := origin.read(_CHUNK):
                    digest.update(block)
                    _write(stream, block)
                os.fchmod(stream.fileno(), mode)
        except FileNotFoundError:
            if self.has(sha256):
                raise
            message = f"the object {sha256[:12]} is not in the store ({self.root})"
            raise IntegrityError(message, hint="`mlrun verify` names the runs that need it") from None
        if digest.hexdigest() != sha256:
            os.unlink(target)
            message = f"the object {sha256[:12]} was changed: {self.path(sha256)}"
            raise IntegrityError(message, hint="restore the file, or remove it and run again from the source")

    def _name(self, sha256: str) -> str:
        return f"{self.root}/{sha256[:2]}/{sha256[2:]}"

    def _is_kept(self, sha256: str, size: Optional[int] = None) -> bool:
        """Whether an object is there; made young again, so that garbage is not collected from under who needs it."""
        kept = self.has(sha256, size)
        if kept:
            with contextlib.suppress(OSError):  # a store that is read-only, or another user's
                os.utime(self._name(sha256))
        return kept

    def _add_stream(self, origin: FileIO) -> str:
        digest = hashlib.sha256()
        with self._aside() as (temporary, stream):
            while block := origin.read(_CHUNK):
                digest.update(block)
                _write(stream, block)
            stream.close()
            self._settle(temporary, digest.hexdigest())
        return digest.hexdigest()

    @contextlib.contextmanager
    def _aside(self) -> Iterator[tuple[str, FileIO]]:
        temporary = f"{self.root}/{_ASIDE}/{os.getpid()}.{secrets.token_hex(6)}"
        try:
            with _created(temporary) as stream:
                yield temporary, stream
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            if error.errno not in _REFUSALS:
                raise
            message = f"cannot write to the store at {self.root}: {error.strerror}"
            raise StoreError(message, hint="free some space (`mlrun gc`), or point MLRUN_HOME elsewhere") from error
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _settle(self, temporary: str, sha256: str) -> None:
        target = self._name(sha256)
        try:
            os.replace(temporary, target)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.replace(temporary, target)
        self._unsynced.append(target)


def _created(path: str) -> FileIO:
    """Create a read-only file that this process can write to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return FileIO(os.open(path, flags, 0o444), "wb")
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return FileIO(os.open(path, flags, 0o444), "wb")


def _write(stream: FileIO, data: bytes) -> None:
    """Write all: an unbuffered write may stop short, on a full disk without an error."""
    view = memoryview(data)
    while view:
        view = view[stream.write(view) :]


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clone_or_copy(source: os.PathLike[str] | str, target: os.PathLike[str] | str) -> None:
    """Copy a file's bytes and mode; where the file system can, by sharing blocks that are copied on write."""
    if sys.platform == "linux":
        with open(source, "rb") as origin, open(target, "wb") as copy, contextlib.suppress(OSError):
            fcntl.ioctl(copy.fileno(), _FICLONE, origin.fileno())
            shutil.copymode(source, target)
            return
    shutil.copy(source, target)
