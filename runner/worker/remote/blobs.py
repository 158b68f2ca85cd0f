"""Bytes on their way, named by their sha256: small ones packed together, large ones in pieces, resumed after a cut."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Optional

from runner.errors import IntegrityError, StoreError
from runner.worker.remote.frames import Channel, Frame
from runner.worker.values import dataclass

PIECE = 1 << 20  # bytes of one frame
_MANY = 32  # files: above it one sync of everything costs less than one for each


@dataclass(frozen=True)
class Blob:
    """A file whose bytes are to go over; ``offset``: so many of them are there already."""

    sha256: str
    size: int
    path: str
    offset: int = 0


@dataclass(frozen=True)
class Place:
    """Where a blob is to lie; there may be several."""

    path: str
    mode: int = 0o600


def send(channel: Channel, blobs: Iterable[Blob], tell: Callable[[int], None] = lambda _: None) -> None:
    """Send blobs; ``tell`` hears how many bytes went. StoreError where a file is not what its digest said."""
    batch: list[tuple[Blob, bytes]] = []
    filled = 0
    for blob in blobs:
        if blob.size >= PIECE:
            _send_pieces(channel, blob, tell)
            continue
        batch.append((blob, _whole(blob)))
        filled += blob.size
        if filled >= PIECE:
            _send_batch(channel, batch, tell)
            batch, filled = [], 0
    if batch:
        _send_batch(channel, batch, tell)


def _send_batch(channel: Channel, batch: "list[tuple[Blob, bytes]]", tell: Callable[[int], None]) -> None:
    items = [[blob.sha256, 0, blob.size, len(data)] for blob, data in batch]
    body = b"".join(data for _, data in batch)
    channel.send("blobs", body, items=items)
    tell(len(body))


def _send_pieces(channel: Channel, blob: Blob, tell: Callable[[int], None]) -> None:
    at = blob.offset
    try:
        with open(blob.path, "rb", buffering=0) as stream:
            stream.seek(at)
            while at < blob.size:
                piece = stream.read(min(PIECE, blob.size - at))
                if not piece:
                    raise _changed(blob)
                channel.send("blobs", piece, items=[[blob.sha256, at, blob.size, len(piece)]])
                at += len(piece)
                tell(len(piece))
    except OSError as error:
        message = f"cannot read {blob.path}: {error.strerror}"
        raise StoreError(message, hint="see that it is there, and that you may read it") from error


def _whole(blob: Blob) -> bytes:
    try:
        with open(blob.path, "rb", buffering=0) as stream:
            data = stream.readall()
    except OSError as error:
        message = f"cannot read {blob.path}: {error.strerror}"
        raise StoreError(message, hint="see that it is there, and that you may read it") from error
    if len(data) != blob.size:
        raise _changed(blob)
    return data


def _changed(blob: Blob) -> StoreError:
    return StoreError(f"{blob.path} changed while it was sent", hint="wait until nobody writes to it, and run again")


class Inbox:
    """Takes blobs in: pieces lie aside under their digest until they are whole and checked, then at their places.

    Two connections may bring the same blob: each writes the same bytes to the same offsets.
    """

    def __init__(self, aside: Path, places: Mapping[str, Sequence[Place]]) -> None:
        """Name where pieces lie, and where each blob belongs."""
        self._aside = aside
        self._places = places
        self._digests: dict[str, Any] = {}  # of what has come of a blob so far
        self.bytes = 0
        self._unsynced: list[str] = []

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
            raise StoreError(message, hint="free some space there, or give the host another `home`") from error
        self.bytes += len(frame.body)

    def _take(self, sha256: str, offset: int, size: int, data: bytes) -> None:
        places = self._places.get(sha256)
        if places is None:
            message = f"{sha256[:12]} was not asked for"
            raise IntegrityError(message, hint="both ends have to be of the same version")
        if offset == 0 and len(data) == size:
            _expect(sha256, hashlib.sha256(data).hexdigest())
            for place in places:
                _write_whole(place, data)
            self._unsynced += [place.path for place in places]
            return
        partial = self._partial(sha256)
        digest = self._digests.get(sha256) or self._begin(sha256, offset)
        _write_at(partial, offset, data)
        digest.update(data)
        self._digests[sha256] = digest
        if offset + len(data) == size:
            self._finish(sha256, partial, places)

    def _begin(self, sha256: str, offset: int) -> Any:
        """Return the digest of what came before; a partial file that is shorter than it was said to be has gone."""
        digest = hashlib.sha256()
        left = offset
        if left:
            with open(self._partial(sha256), "rb", buffering=0) as stream:
                while left and (block := stream.read(min(PIECE, left))):
                    digest.update(block)
                    left -= len(block)
        return digest

    def _finish(self, sha256: str, partial: str, places: Sequence[Place]) -> None:
        found = self._digests.pop(sha256).hexdigest()
        if found != sha256:
            os.unlink(partial)
        _expect(sha256, found)
        for place in places[1:]:
            _copy(partial, place)
        os.chmod(partial, places[0].mode)
        _moved(partial, places[0].path)
        self._unsynced += [place.path for place in places]

    def sync(self) -> None:
        """Return when all that has come has reached the disk."""
        if len(self._unsynced) > _MANY:
            os.sync()
        else:
            for path in self._unsynced:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        self._unsynced.clear()

    def _partial(self, sha256: str) -> str:
        return str(self._aside / f"part-{sha256}")


def _expect(wanted: str, found: str) -> None:
    if wanted != found:
        message = f"{wanted[:12]} did not arrive as it was: its bytes are {found[:12]}"
        raise IntegrityError(message, hint="the file changed while it was sent, or a disk is faulty; try again")


def _write_whole(place: Place, data: bytes) -> None:
    aside = f"{place.path}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        _write_at(aside, 0, data)
        os.chmod(aside, place.mode)
        os.replace(aside, place.path)
    except BaseException:
        _discard(aside)
        raise


def _copy(partial: str, place: Place) -> None:
    from runner.worker.objects import clone_or_copy

    aside = f"{place.path}.{os.getpid()}.{secrets.token_hex(4)}"
    os.makedirs(os.path.dirname(place.path), exist_ok=True)
    try:
        clone_or_copy(partial, aside)
        os.chmod(aside, place.mode)
        os.replace(aside, place.path)
    except BaseException:
        _discard(aside)
        raise


def _write_at(path: str, offset: int, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
    finally:
        os.close(descriptor)


def _moved(origin: str, target: str) -> None:
    try:
        os.replace(origin, target)
    except FileNotFoundError:
        if os.path.exists(target):  # another connection was first
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(origin, target)


def _discard(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def wanted(inbox: Inbox, sha256: str, size: Optional[int]) -> "list[Any]":
    """Return how a blob is asked for: its digest, and from which byte on."""
    offset = inbox.offset(sha256)
    return [sha256, 0 if size is not None and offset >= size else offset]
