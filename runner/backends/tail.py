"""Follows a run's files as they grow, to the last byte, and wakes up as soon as its worker has gone."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.backends.backend import Sink
from runner.worker.execution.progress import texts
from runner.worker.facts import Claim, Launching
from runner.worker.files import read_block
from runner.worker.look import look
from runner.worker.results import Failure, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.state import SUBMITTED, UNREACHABLE, State, abandon
from runner.worker.tools import reap

_BLOCK = 1 << 20
_SOONEST, _LATEST = 0.002, 0.1  # seconds between two looks
_WAITING = 0.5  # the same, while a run is in a queue: its files may lie on a network's file system
_LOOK = 0.5  # seconds between two looks at the processes: an outcome says more, and costs less


class Tail:
    """What has been passed on of a run; ``until_ended`` can be interrupted, and called again."""

    def __init__(self, run: RunDirectory) -> None:
        """Begin at the beginning."""
        self._run = run
        self._offsets = {run.progress: 0, run.stdout: 0, run.stderr: 0}
        self._told = ""

    def until_ended(self, sink: Sink, worker: int | None = None) -> State:
        """Pass on all that a run says until it has ended, or is out of reach. ``worker``: its pid, if it is ours."""
        quiet_since = looked = time.monotonic()
        with _awaiting(worker) as pause:
            while True:
                if self._run.has(Outcome):
                    return self._drained(sink)
                if self._pass_on(sink):
                    quiet_since = time.monotonic()
                if time.monotonic() - looked > _LOOK:
                    looked = time.monotonic()
                    self._check_beginning(worker)
                    state = look(self._run)
                    if state.ended or (state.name == UNREACHABLE and not self._run.has(Launching)):
                        return self._drained(sink)
                    self._tell(state, sink)
                quiet = time.monotonic() - quiet_since
                if pause(min(max(_SOONEST, quiet / 10), _WAITING if self._told else _LATEST)):
                    looked = 0.0  # the worker has gone: its outcome is there, or nobody will write one

    def _tell(self, state: State, sink: Sink) -> None:
        """Say what a run waits for: its place in a queue, or a launcher that does not answer and will again."""
        if state.name in (SUBMITTED, UNREACHABLE) and state.remark not in ("", self._told):
            self._told = state.remark
            sink.progress(state.remark)
        elif state.name not in (SUBMITTED, UNREACHABLE):
            self._told = ""

    def _check_beginning(self, worker: int | None) -> None:
        """See whether our worker has died before it could even claim the run: nobody else would ever know."""
        if worker is None or self._run.has(Claim):
            return
        reap()
        with contextlib.suppress(PermissionError):
            try:
                os.kill(worker, 0)
            except ProcessLookupError:
                failure = Failure("no worker could begin", f"the reason is in {self._run.worker_log}")
                abandon(self._run, failure)

    def _drained(self, sink: Sink) -> State:
        while self._pass_on(sink):
            pass
        return look(self._run)

    def _pass_on(self, sink: Sink) -> bool:
        """Pass on at most one block of each file; whether there was any."""
        found = self._read_progress(sink)
        for path, take in ((self._run.stdout, sink.stdout), (self._run.stderr, sink.stderr)):
            found |= self._read(path, take)
        return found

    def _read(self, path: Path, take: Callable[[bytes], None]) -> bool:
        data = read_block(path, self._offsets[path], _BLOCK)
        if data:
            self._offsets[path] += len(data)  # before it is taken: what was begun is not repeated
            take(data)
        return bool(data)

    def _read_progress(self, sink: Sink) -> bool:
        data = read_block(self._run.progress, self._offsets[self._run.progress], _BLOCK)
        whole = data[: data.rfind(b"\n") + 1]
        self._offsets[self._run.progress] += len(whole)
        for text in texts(whole):
            sink.progress(text)
        return bool(whole)


@contextmanager
def _awaiting(pid: int | None) -> Iterator[Callable[[float], bool]]:
    """Give a pause of so many seconds that the end of a process cuts short, and that says whether it did."""
    descriptor = None
    if pid is not None and hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(pid)
    if descriptor is None:
        yield _sleep
        return
    gone = False

    def pause(seconds: float) -> bool:
        nonlocal gone
        if gone:
            return _sleep(seconds)
        gone = bool(select.select([descriptor], [], [], seconds)[0])
        return gone

    try:
        yield pause
    finally:
        os.close(descriptor)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
