"""sha256 of bytes, files and directories: loads little, because a process that only hashes loads it too."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from io import FileIO

_CHUNK = 1 << 17
_SMALL = 1 << 14

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Union

    AnyPath = Union[str, bytes, "os.PathLike[str]"]


def sha256_of(data: bytes) -> str:
    """Return the sha256 of bytes, as hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: AnyPath) -> str:
    """Return the sha256 of a file's bytes, as hex; OSError where it cannot be read."""
    digest, size = hashlib.sha256(), _SMALL
    descriptor = _open(path)
    try:
        while data := os.read(descriptor, size):
            digest.update(data)
            if len(data) == _SMALL:  # not a small file: a large buffer pays from here on
                size = _CHUNK
    except OSError as error:  # a descriptor has no name
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def open_regular(path: AnyPath) -> FileIO:
    """Open a regular file to read, unbuffered; OSError for anything else: a pipe would keep us waiting for ever."""
    return FileIO(_open(path), "rb")


def _open(path: AnyPath) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no regular file", os.fspath(path))
    return descriptor


def listing_of(files: Iterable[tuple[str, str]]) -> bytes:
    """Return (path, sha256) pairs as a text: their sorted `sha256  path` lines."""
    lines = sorted(f"{sha256}  {path}\n" for path, sha256 in files)
    return "".join(lines).encode("utf-8", "surrogateescape")


def digest_of_directory(files: Iterable[tuple[str, str]]) -> str:
    """Return the digest of (path, sha256) pairs: the sha256 of the text that lists them."""
    return sha256_of(listing_of(files))
