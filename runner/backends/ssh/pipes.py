"""Pipes to a program that may fall silent: reading and writing wait only so long, as a link is cut without a word."""

from __future__ import annotations

import contextlib
import os
import select
from typing import IO, TYPE_CHECKING

from runner.worker.remote.frames import Cut

if TYPE_CHECKING:
    import subprocess

_AHEAD = 1 << 13  # bytes read where nobody said how many will come
_KEPT = 1 << 12  # bytes of what is passed over, to be quoted
_PIPE = 1 << 20
_SET_PIPE_SIZE = 1031  # fcntl.h


class PatientReader:
    """Bytes from a pipe, awaited only so long: as a link is cut without a word."""

    def __init__(self, stream: IO[bytes], patience: float) -> None:
        """Read from a stream; ``patience`` in s."""
        self._descriptor = stream.fileno()
        self._held = bytearray()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self.patience = patience
        self.is_silent = False

    def skip(self, mark: bytes, most: int) -> bool:
        """Take all up to a mark, and the mark; False where it does not come within so many bytes, Cut at the end."""
        seen = 0
        while (at := self._held.find(mark)) < 0:
            past = len(self._held) - len(mark) - _KEPT
            if past > 0:
                seen += past
                del self._held[:past]
            if seen > most:
                return False
            if not self._fill():
                raise Cut
        del self._held[: at + len(mark)]
        return True

    @property
    def last_words(self) -> str:
        """The last line that came and was not taken."""
        lines = [line.strip() for line in self._held.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def readline(self) -> bytes:
        """Return a line, or what is left at the end."""
        searched = 0
        while (end := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held)
            if not self._fill():
                return self._take(len(self._held))
        return self._take(end + 1)

    def read(self, size: int, /) -> bytes:
        """Return so many bytes, or what is left at the end."""
        blocks = [self._take(min(size, len(self._held)))]
        left = size - len(blocks[0])
        while left and (data := self._next(left)):
            blocks.append(data)
            left -= len(data)
        return b"".join(blocks)

    def _fill(self) -> bool:
        data = self._next(_AHEAD)
        self._held += data
        return bool(data)

    def _next(self, size: int) -> bytes:
        if not self._poll.poll(_milliseconds(self.patience)):
            self.is_silent = True
            raise Cut
        try:
            return os.read(self._descriptor, size)
        except OSError:
            return b""

    def _take(self, size: int) -> bytes:
        data = bytes(memoryview(self._held)[:size])
        del self._held[:size]
        return data


class PatientWriter:
    """Bytes into a pipe, which has to take some of them before patience ends."""

    def __init__(self, stream: IO[bytes], patience: float) -> None:
        """Write to a stream; ``patience`` in s."""
        self._descriptor = stream.fileno()
        os.set_blocking(self._descriptor, False)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLOUT)
        self.patience = patience
        self.is_silent = False

    def write(self, data: memoryview | bytes, /) -> int:
        """Write some of the bytes and return how many; Cut where none are taken."""
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                if not self._poll.poll(_milliseconds(self.patience)):
                    self.is_silent = True
                    raise Cut from None


def widen(process: subprocess.Popen[bytes]) -> None:
    """Have the pipes hold more than their 64 KiB: fewer switches between the processes that work on them."""
    import fcntl

    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            assert stream is not None
            fcntl.fcntl(stream.fileno(), _SET_PIPE_SIZE, _PIPE)


def _milliseconds(seconds: float) -> float | None:
    return None if seconds == float("inf") else seconds * 1000
