"""Frames over a byte stream, the same at both ends: a line of JSON that says what it is and how long, then bytes."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Mapping
from typing import Any, Protocol

from runner.errors import MlrunError
from runner.worker.values import dataclass

_WORTH = 512  # bytes: packing less gains nothing
_SAMPLE = 8192
_GAIN = 0.85  # of its size: what a sample must shrink to
_RAW = 64  # large frames that go as they are after one that took longer to pack than to send
_LARGE = 1 << 17
LONGEST = 1 << 26  # bytes of one frame: more is no frame of ours
LARGEST = 1 << 28  # bytes of one when it is unpacked: nobody fills our memory from afar


class Cut(Exception):  # noqa: N818 - no error of anybody's
    """The other end has gone, or says nothing any more."""


class Reader(Protocol):
    """Bytes that come in: both methods wait for all that was asked, and return less only at the end."""

    def readline(self) -> bytes:
        """Return a line with its newline."""

    def read(self, size: int, /) -> bytes:
        """Return so many bytes."""


class Writer(Protocol):
    """Where bytes go to, at once."""

    def write(self, data: Any, /) -> Any:
        """Write some of the bytes, and return how many."""


@dataclass(frozen=True)
class Frame:
    """One message."""

    kind: str
    head: Mapping[str, Any]
    body: bytes = b""


class Channel:
    """Frames to and from the other end."""

    def __init__(self, incoming: Reader, outgoing: Writer) -> None:
        """Speak over two streams, both open."""
        self._incoming, self._outgoing = incoming, outgoing
        self._queue: list[Frame] = []
        self._raw = 0  # large frames to come that are not packed
        self.turns = 0  # how often we waited for an answer
        self._spoke = False
        self._lock = threading.Lock()  # a sign of life may come between

    def send(self, kind: str, body: bytes = b"", **head: Any) -> None:
        """Send a frame; Cut where nobody takes it any more."""
        with self._lock:
            self._send(kind, body, head)

    def _send(self, kind: str, body: bytes, head: Mapping[str, Any]) -> None:
        began = time.monotonic()
        packed = self._pack(body)
        took = time.monotonic() - began
        data = body if packed is None else packed
        line = json.dumps({**head, "kind": kind, "size": len(data), "packed": packed is not None})
        self._write(line.encode("ascii") + b"\n" + data if len(data) < _LARGE else line.encode("ascii") + b"\n")
        if len(data) >= _LARGE:
            self._write(data)
        if packed is not None and len(body) >= _LARGE and time.monotonic() - began - took < took:
            self._raw = _RAW  # the link is faster than the packing
        self._spoke = True

    def receive(self) -> Frame:
        """Return the next frame; Cut where none comes any more, MlrunError where it is none of ours."""
        if self._spoke:
            self.turns, self._spoke = self.turns + 1, False
        if self._queue:
            return self._queue.pop(0)
        line = self._incoming.readline()
        if not line.endswith(b"\n"):
            raise Cut
        try:
            head = json.loads(line)
            kind, size, packed = head.pop("kind"), head.pop("size"), head.pop("packed", False)
            assert 0 <= size <= LONGEST
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
            message = f"what comes from the other end is no message of mlrun: {line[:80]!r}"
            raise MlrunError(message, hint="something else writes to that stream") from None
        body = self._incoming.read(size) if size else b""
        if len(body) < size:
            raise Cut
        return Frame(kind, head, _unpack(body) if packed else body)

    def put_back(self, frames: "list[Frame]") -> None:
        """Have frames received next that were taken already."""
        self._queue = [*frames, *self._queue]

    def _pack(self, body: bytes) -> "bytes | None":
        if len(body) < _WORTH:
            return None
        if len(body) >= _LARGE:
            if self._raw:
                self._raw -= 1
                return None
            if len(zlib.compress(body[:_SAMPLE], 1)) > _GAIN * _SAMPLE:
                self._raw = _RAW  # it is packed already, or noise
                return None
        packed = zlib.compress(body, 1)
        return packed if len(packed) < _GAIN * len(body) else None

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._outgoing.write(view) or 0 :]
        except (BrokenPipeError, ConnectionError, ValueError):
            raise Cut from None


def _unpack(body: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(body, LARGEST)
    except zlib.error as error:
        message = f"what comes from the other end is damaged: {error}"
        raise MlrunError(message, hint="something else writes to that stream") from None
    if not unpacking.eof:
        message = "what comes from the other end is no message of mlrun: it is too large, or not whole"
        raise MlrunError(message, hint="see who has access to the other machine")
    return data
