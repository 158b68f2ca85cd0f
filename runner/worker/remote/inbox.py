"""Bytes on their way in: pieces lie aside under their digest until they are whole and checked, then at their places."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Optional

from runner.errors import IntegrityError, StoreError
from runner.worker.objects import clone_or_copy
from runner.worker.remote.blobs import PIECE
from runner.worker.remote.frames import Frame
from runner.worker.values import dataclass

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MANY = 32  # files: above it one sync of everything costs less than one for each


@dataclass(frozen=True)
class Place:
    """Where a blob is to lie; there may be several."""

    path: str
    mode: int = 0o600


def _cure_there(_: OSError) -> str:
    return "free some space there, or give the host another `home`"


class Inbox:
    """Takes blobs in, each to its places.

    Two connections may bring the same blob. Each holds the file that it has opened, and writes the same bytes to the
    same offsets: whoever is first moves the file to its place, where the other goes on writing what is there already.
    """

    def __init__(
        self, aside: Path, places: Mapping[str, Sequence[Place]], cure: Callable[[OSError], str] = _cure_there
    ) -> None:
        """Name where pieces lie, and where each blob belongs; IntegrityError where one is named by no digest.

        ``cure`` says what to do where nothing can be written; on the machine of a run, unless it is said.
        """
        self._cure = cure
        self._coming: dict[str, _Coming] = {}
        for sha256 in places:
            if not _DIGEST.fullmatch(sha256):  # files are named by it before its bytes are known
                message = f"{sha256[:80]!r} is no digest"
                raise IntegrityError(message, hint="see who has access to the other machine")
        self._aside = aside
        self._places = places
        self._came: set[str] = set()  # over another connection
        self._unsynced: list[tuple[str, int]] = []
        self.bytes = 0

    def __del__(self) -> None:
        """Close the files of blobs that never came whole."""
        for coming in self._coming.values():
            coming.close()

    def offset(self, sha256: str) -> int:
        """Return how many bytes of a blob have come before."""
        try:
            return os.stat(self._partial(sha256)).st_size
        except OSError:
            return 0

    def take(self, frame: Frame) -> None:
        """Take what a frame brings; IntegrityError where bytes are not what their digest says, StoreError: no room."""
        at = 0
        try:
            for sha256, offset, size, length in frame.head["items"]:
                data = frame.body[at : at + length]
                at += length
                self._take(sha256, offset, size, data)
        except OSError as error:
            message = f"cannot write to {error.filename or self._aside}: {error.strerror}"
            raise StoreError(message, hint=self._cure(error)) from error
        self.bytes += len(frame.body)

    def sync(self, below: float = math.inf) -> None:
        """Return when what has come has reached the disk: all of it, or the files below a size in bytes."""
        chosen = [path for path, size in self._unsynced if size < below]
        self._unsynced = [(path, size) for path, size in self._unsynced if size >= below]
        if len(chosen) > _MANY and not self._unsynced:
            os.sync()
            return
        for path in chosen:
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def _take(self, sha256: str, offset: int, size: int, data: bytes) -> None:
        places = self._places.get(sha256)
        if places is None:
            message = f"{sha256[:12]} was not asked for"
            raise IntegrityError(message, hint="both ends have to be of the same version")
        if offset == 0 and len(data) == size:
            _expect(sha256, hashlib.sha256(data).hexdigest())
            for place in places:
                _write_whole(place, data)
        else:
            if sha256 in self._came or self._has_come(sha256, offset, size, places):
                return
            if sha256 not in self._coming:
                self._coming[sha256] = _Coming(self._partial(sha256), offset)
            self._coming[sha256].take(offset, data)
            if offset + len(data) < size:
                return
            self._coming.pop(sha256).finish(sha256, places)
        self._unsynced += [(place.path, size) for place in places]

    def _has_come(self, sha256: str, offset: int, size: int, places: Sequence[Place]) -> bool:
        """Whether another connection has brought a blob since it was asked for: then its pieces are of no use."""
        if sha256 in self._coming or offset <= self.offset(sha256):
            return False
        with contextlib.suppress(OSError):
            if all(os.stat(place.path).st_size == size for place in places):
                self._came.add(sha256)
                return True
        return False

    def _partial(self, sha256: str) -> str:
        return str(self._aside / f"part-{sha256}")


class _Coming:
    """A large blob that comes in pieces: its file, and the digest of all that came."""

    def __init__(self, path: str, offset: int) -> None:
        """Open the file, of which so many bytes are there; IntegrityError where they are not any more."""
        self._path = path
        self._descriptor = _opened(path)
        self._digest = hashlib.sha256()
        left = offset
        while left:
            block = os.pread(self._descriptor, min(PIECE, left), offset - left)
            if not block:
                self.close()
                message = f"what came before of {os.path.basename(path)[5:17]} is gone"
                raise IntegrityError(message, hint="another transfer has brought it meanwhile; run it again")
            self._digest.update(block)
            left -= len(block)

    def take(self, offset: int, data: bytes) -> None:
        """Hash a piece, and write it."""
        self._digest.update(data)
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written

    def finish(self, sha256: str, places: Sequence[Place]) -> None:
        """Check the whole, and bring it to its places."""
        found = self._digest.hexdigest()
        try:
            if found != sha256:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path)
            _expect(sha256, found)
            self._settle(places[0])
        finally:
            self.close()
        for place in places[1:]:
            _copy(places[0].path, place)

    def _settle(self, place: Place) -> None:
        """Move the file to its place, which may be on another disk; nothing where another connection has done so."""
        os.makedirs(os.path.dirname(place.path), exist_ok=True)
        try:
            os.replace(self._path, place.path)
            os.fchmod(self._descriptor, place.mode)
        except FileNotFoundError:
            if not os.path.exists(place.path):
                raise
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(self._path, place)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def wanted(inbox: Inbox, sha256: str, size: Optional[int]) -> "list[Any]":
    """Return how a blob is asked for: its digest, and from which byte on."""
    offset = inbox.offset(sha256)
    return [sha256, 0 if size is not None and offset >= size else offset]


def _expect(wanted: str, found: str) -> None:
    if wanted != found:
        message = f"{wanted[:12]} did not arrive as it was: its bytes are {found[:12]}"
        raise IntegrityError(message, hint="the file changed while it was sent, or a disk is faulty; try again")


def _write_whole(place: Place, data: bytes) -> None:
    aside = f"{place.path}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        descriptor = _opened(aside)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fchmod(descriptor, place.mode)
        finally:
            os.close(descriptor)
        os.replace(aside, place.path)
    except BaseException:
        _discard(aside)
        raise


def _copy(origin: str, place: Place) -> None:
    aside = f"{place.path}.{os.getpid()}.{secrets.token_hex(4)}"
    os.makedirs(os.path.dirname(place.path), exist_ok=True)
    try:
        clone_or_copy(origin, aside)
        os.chmod(aside, place.mode)
        os.replace(aside, place.path)
    except BaseException:
        _discard(aside)
        raise


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _discard(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
