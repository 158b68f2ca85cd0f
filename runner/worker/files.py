"""Files that are whole or absent: written aside, synced, and linked into place; the first writer wins."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from pathlib import Path
from typing import Union

from runner.errors import FormatError, StoreError

Json = Union[None, bool, int, float, str, list["Json"], dict[str, "Json"]]

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


def canonical(value: Json) -> bytes:
    """Return the one byte form of a JSON value: sorted keys, ASCII, no spaces; lone surrogates are escaped."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def pretty(value: Json) -> bytes:
    """Return a JSON value as people read it, ending in a newline; ASCII, so that any file name survives."""
    return json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


def write_once(path: Path, data: bytes, mode: int = 0o600, *, followed: bool = False) -> bool:
    """Create ``path`` with ``data``, whole; return False, and change nothing, where it is there already.

    ``followed``: a later file of the same directory syncs the directory, and nobody needs this one without it.
    """
    temporary = _write_aside(path, data, mode)
    try:
        return _link(temporary, path, data, mode)
    finally:
        temporary.unlink(missing_ok=True)
        if not followed:
            _sync_directory(path.parent)


def replace(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Give ``path`` the content ``data``; a reader sees the old bytes or the new ones, never a part."""
    temporary = _write_aside(path, data, mode)
    try:
        os.replace(temporary, path)
    except OSError as error:  # a directory has that name
        temporary.unlink(missing_ok=True)
        message = f"cannot write {path}: {error.strerror}"
        raise StoreError(message, hint=cure(error)) from error
    _sync_directory(path.parent)


def note_use(path: Path) -> None:
    """Have a file or directory of the cache count as used now, for those who prune it; as far as it can be written."""
    with contextlib.suppress(OSError):
        os.utime(path)


def read_json(path: Path) -> Json:
    """Return what a JSON file holds; FormatError names the file where it holds no JSON."""
    try:
        value: Json = json.loads(path.read_bytes())
    except ValueError as error:
        message = f"{path} is not valid JSON: {error}"
        raise FormatError(message, hint="the file was changed from outside; restore it from a backup") from None
    return value


def read_block(path: Path, offset: int, size: int) -> bytes:
    """Return at most ``size`` bytes of a file from an offset on; b"" at its end, and where there is no file yet."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)


def cure(error: OSError) -> str:
    """Return what to do about a file that cannot be written, "" where nobody knows."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space (`mlrun gc`, `mlrun env prune`), or point MLRUN_HOME and MLRUN_CACHE at a larger disk"
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return "point MLRUN_HOME and MLRUN_CACHE at directories you can write to"
    return ""


def _write_aside(path: Path, data: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        message = f"cannot write {path}: {error.strerror}"
        raise StoreError(message, hint=cure(error)) from error
    return temporary


def _link(temporary: Path, path: Path, data: bytes, mode: int) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        # A network file system can answer EEXIST after a link that succeeded: the link count knows. It is asked of an
        # open file, for what is known of a name alone may be some seconds old.
        with temporary.open("rb") as stream:
            return os.fstat(stream.fileno()).st_nlink > 1
    except OSError as error:
        if error.errno in _NO_HARD_LINKS:
            return _create(path, data, mode)
        message = f"cannot write {path}: {error.strerror}"
        raise StoreError(message, hint=cure(error)) from error
    return True


def _create(path: Path, data: bytes, mode: int) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    return True


def _sync_directory(directory: Path) -> None:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems refuse to sync a directory
        pass
    finally:
        os.close(descriptor)
