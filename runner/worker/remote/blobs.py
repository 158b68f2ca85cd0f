"""Bytes on their way out, named by their sha256: small files together, large ones in pieces from an offset on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Callable

from runner.errors import StoreError
from runner.worker.remote.frames import Channel
from runner.worker.values import dataclass

PIECE = 1 << 18  # bytes of one frame: what a processor keeps at hand while it is read, hashed and written
_BATCH = 1 << 20  # bytes of small files that go together
_MANY = 32  # files: above it one sync of everything costs less than one for each


@dataclass(frozen=True)
class Blob:
    """A file whose bytes are to go over; ``offset``: so many of them are there already."""

    sha256: str
    size: int
    path: str
    offset: int = 0


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
        if filled >= _BATCH:
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
