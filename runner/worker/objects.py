"""The content store: bytes named by their sha256, read-only, shared by all runs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from runner.errors import IntegrityError, StoreError

_CHUNK = 1 << 20
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file, copied when written to


class Objects:
    """The objects under one directory: ``objects/sha256/ab/cdef...``."""

    def __init__(self, root: Path) -> None:
        """Name the directory; it is made when the first object comes."""
        self.root = root / "sha256"

    def path(self, sha256: str) -> Path:
        """Return where an object lies, whether it is there or not."""
        return self.root / sha256[:2] / sha256[2:]

    def has(self, sha256: str) -> bool:
        """Whether the object is there."""
        return self.path(sha256).exists()

    def add(self, data: bytes) -> str:
        """Store bytes and return their digest."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.has(sha256):
            with self._aside() as (temporary, stream):
                stream.write(data)
                stream.close()
                self._settle(temporary, sha256)
        return sha256

    def add_file(self, source: os.PathLike[str] | str, expected: Optional[str] = None) -> str:
        """Store a file's bytes and return their digest; with the digest known and there, nothing is read."""
        if expected is not None and self.has(expected):
            return expected
        digest = hashlib.sha256()
        with open(source, "rb", buffering=0) as origin, self._aside() as (temporary, stream):
            while block := origin.read(_CHUNK):
                digest.update(block)
                stream.write(block)
            stream.close()
            self._settle(temporary, digest.hexdigest())
        return digest.hexdigest()

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
                    stream.write(block)
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

    @contextlib.contextmanager
    def _aside(self) -> Iterator[tuple[Path, Any]]:
        directory = self.root / "tmp"
        temporary = directory / f"{os.getpid()}.{secrets.token_hex(6)}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with open(temporary, "xb") as stream:
                yield temporary, stream
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise
            message = f"cannot write to the store at {self.root}: {error.strerror}"
            raise StoreError(message, hint="free some space (`mlrun gc`), or point MLRUN_HOME elsewhere") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _settle(self, temporary: Path, sha256: str) -> None:
        target = self.path(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.chmod(temporary, 0o444)
        os.replace(temporary, target)


def clone_or_copy(source: os.PathLike[str] | str, target: os.PathLike[str] | str) -> None:
    """Copy a file's bytes and mode; where the file system can, by sharing blocks that are copied on write."""
    if sys.platform == "linux":
        with open(source, "rb") as origin, open(target, "wb") as copy, contextlib.suppress(OSError):
            fcntl.ioctl(copy.fileno(), _FICLONE, origin.fileno())
            shutil.copymode(source, target)
            return
    shutil.copy(source, target)
