"""Follows a run on another machine by offsets, across cuts of the link, and keeps its logs here as they come."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.backends.backend import Sink, Ticket
from runner.backends.host import Host
from runner.backends.ssh.refusals import Unreachable
from runner.errors import StoreError
from runner.worker.codec import decode
from runner.worker.execution.progress import texts
from runner.worker.files import cure, read_block
from runner.worker.remote.frames import Frame
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.state import State

if TYPE_CHECKING:
    from pathlib import Path

    from runner.backends.ssh.connection import Connection

_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds between tries to reach the machine again
_PATIENCE = 900.0  # seconds without a link after which following is given up; the run is not
_BLOCK = 1 << 20
_SILENT = ("metrics", "tracking")  # kept here as they come, and not passed on


class Follow:
    """How far a run's output has been passed on; ``until_ended`` can be interrupted, and called again."""

    def __init__(self, ticket: Ticket, run: RunDirectory | None) -> None:
        """Follow a run, whose directory here is ``run`` where that is known."""
        self._ticket, self._run = ticket, run
        self._offsets = {"progress": 0, "stdout": 0, "stderr": 0, **dict.fromkeys(_SILENT, 0)}
        self._line = b""  # of the progress, as far as it came
        self._began = False
        self.results: Frame | None = None  # what the run has to hand out, as it was said at its end

    def until_ended(self, sink: Sink, connect: Callable[[], Connection], drop: Callable[[Host], None]) -> State:
        """Pass on all that a run says until it has ended; Unreachable where its machine stays away for too long."""
        if not self._began:
            self.known(sink)
        lost, tries = time.monotonic(), 0
        while True:
            connection = connect()
            try:
                return self._stream(sink, connection)
            except Unreachable as error:
                drop(connection.host)
                if connection.channel.turns > 1:  # it had answered
                    lost, tries = time.monotonic(), 0
                if time.monotonic() - lost > _PATIENCE:
                    raise
                if tries == 0:
                    sink.progress(f"{error.message}; the run goes on there, and is followed again as soon as may be")
                time.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1

    def so_far(self, sink: Sink, connection: Connection) -> State:
        """Pass on what the run has said until now."""
        self.known(sink)
        return self._stream(sink, connection, once=True)

    def _stream(self, sink: Sink, connection: Connection, *, once: bool = False) -> State:
        connection.tell("follow", run=self._ticket.run, offsets=self._offsets, results=not once, once=once)
        while True:
            frame = connection.hear()
            if frame.kind == "piece":
                self._take(sink, frame)
            elif frame.kind == "remark":
                sink.progress(str(frame.head["text"]))
            elif frame.kind == "ended":
                outcome = frame.head["outcome"]
                if outcome is not None and not once:
                    self.results = connection.hear()
                return State(frame.head["state"], None if outcome is None else decode(Outcome, outcome, "the outcome"))

    def _take(self, sink: Sink, frame: Frame) -> None:
        name, offset = frame.head["file"], frame.head["offset"]
        data = frame.body[max(0, self._offsets[name] - offset) :]
        if not data:
            return
        if self._run is not None:
            _write_at(self._path(self._run, name), self._offsets[name], data)
        self._offsets[name] += len(data)  # before it is taken: what was begun is not repeated
        self._hand_on(sink, name, data)

    def _hand_on(self, sink: Sink, name: str, data: bytes) -> None:
        if name == "progress":
            whole, newline, self._line = (self._line + data).rpartition(b"\n")
            for text in texts(whole + newline):
                sink.progress(text)
        elif name == "stdout":
            sink.stdout(data)
        elif name == "stderr":
            sink.stderr(data)

    def known(self, sink: Sink) -> None:
        """Pass on what came before, over another connection: it lies in the run's directory here."""
        self._began = True
        if self._run is None:
            return
        for name in _SILENT:
            path = self._path(self._run, name)
            self._offsets[name] = path.stat().st_size if path.exists() else 0
        for name in ("stdout", "stderr"):
            while data := read_block(self._path(self._run, name), self._offsets[name], _BLOCK):
                self._offsets[name] += len(data)
                self._hand_on(sink, name, data)

    def _path(self, run: RunDirectory, name: str) -> Path:
        return {
            "progress": run.progress, "stdout": run.stdout, "stderr": run.stderr,
            "metrics": run.metrics, "tracking": run.tracking,
        }[name]  # fmt: skip


def _write_at(path: Path, offset: int, data: bytes) -> None:
    """Write at an offset: several that follow the same run write the same bytes to the same places."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, offset)
                view, offset = view[written:], offset + written
        finally:
            os.close(descriptor)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}; the run goes on there"
        raise StoreError(message, hint=cure(error)) from error
