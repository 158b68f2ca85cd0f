"""Forwards a run while it goes on, in a thread of whoever follows it: nothing that a server does reaches the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from runner.errors import MlrunError
from runner.publishing.forward import Forward, children
from runner.publishing.published import Shelf
from runner.publishing.server import RejectedError, Server, address
from runner.worker.rundir import RunDirectory

_EVERY = 1.0  # seconds
_SLOWEST = 30.0  # seconds between attempts at a server that does not answer
_STALL, _ALTOGETHER = 5.0, 60.0  # seconds that the end of a run waits: for one answer, and for all of them
_FIRST, _DOUBT = 2.0, 1.0  # seconds that it waits for the first answer, and where there was none before


# From a run's id to the ended runs that its own command started, with their records.
Inner = Callable[[str], Iterable[tuple[RunDirectory, Any]]]


def _none(identity: str) -> Iterable[tuple[RunDirectory, Any]]:
    del identity
    return ()


class Publisher:
    """A run and its sub-runs on their way to one server."""

    def __init__(self, run: RunDirectory, server: Server, inner: Inner = _none, parent: str = "") -> None:
        """Name them; nothing is sent yet. ``parent`` is the server's id of the run that it was started in."""
        self.run = run
        self.server = server
        self._inner = inner
        self._parent_run = parent
        self.shelf = Shelf(run, server.uri)
        self._forwards: dict[str, Forward] = {}

    @property
    def main(self) -> Forward:
        """The run itself."""
        return self._forward(self.run.id)

    def step(self) -> bool:
        """Send what is new of the run and its sub-runs."""
        moved = self.main.step(self._parent_run)
        for child in children(self.run):
            forward = self._forward(child.name)
            moved |= forward.step(self._parent(forward))
        return moved

    def _parent(self, forward: Forward) -> str:
        """Return the server's id of the run that a sub-run is nested in; "" where the sub-run is there already."""
        if forward.state is not None:
            return ""
        parent = self.main
        if (self.run.children / forward.parent).is_dir() and forward.parent:
            parent = self._forward(forward.parent)
            parent.step(self._parent(parent))
        assert parent.state is not None
        return parent.state.run_id

    def end(self, record: Any) -> None:
        """Send all that is left of an ended run, then the runs that its command started."""
        while self.step():
            pass
        for child in children(self.run):
            self._forward(child.name).end(record)
        self.main.end(record)
        assert self.main.state is not None
        for inner, its_record in self._inner(self.run.id):
            Publisher(inner, self.server, self._inner, self.main.state.run_id).end(its_record)

    @property
    def complete(self) -> bool:
        """Whether all of an ended run is at the server."""
        return self.main.state is not None and self.main.state.complete

    def _forward(self, identity: str) -> Forward:
        if identity not in self._forwards:
            child = None if identity == self.run.id else self.run.children / identity
            self._forwards[identity] = Forward(self.run, self.server, self.shelf, child)
        return self._forwards[identity]


class Live:
    """A thread that forwards a run until it has ended."""

    def __init__(self, run: RunDirectory, uri: str, inner: Inner = _none) -> None:
        """Start it."""
        self._run = run
        self._inner = inner
        self._uri = uri
        self._publisher: Publisher | None = None
        self._failure: MlrunError | None = None
        self._elsewhere = False  # another process forwards the run
        self._record: Any = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name="publish", daemon=True)
        self._thread.start()

    def finish(self, record: Any) -> str:
        """Send the rest of an ended run, for as long as that goes on; return what is not there, and how it follows."""
        self._record = record
        self._wake.set()
        begun = time.monotonic()
        while self._thread.is_alive() and not self._is_silent() and time.monotonic() - begun < _ALTOGETHER:
            self._thread.join(0.05)
        return self._remark()

    def _is_silent(self) -> bool:
        """Whether the server has been asked something, and has not answered for too long."""
        if self._publisher is None:
            return False
        server = self._publisher.server
        patience = _DOUBT if self._failure is not None else _STALL if server.answered else _FIRST
        return server.silence() > patience

    def leave(self) -> None:
        """Forward no more: who followed the run does not follow it to its end."""
        self._record = False
        self._wake.set()

    def _remark(self) -> str:
        from runner.store.ids import short

        if self._elsewhere or (self._publisher is not None and self._publisher.complete):
            return ""
        silent = self._publisher is not None and not self._publisher.server.answered
        how = "does not answer" if silent else "is slow"
        why = self._failure.message if self._failure else f"the MLflow server {self._uri} {how}"
        rest = f"`mlrun publish {short(self._run.id)}` sends what is missing"
        return f"not all of the run is at its server: {why}; {rest}"

    def _work(self) -> None:
        try:
            self._publisher = Publisher(self._run, Server(address(self._uri)), self._inner)
            with self._publisher.shelf.held() as held:
                self._elsewhere = not held
                if held:
                    self._forward(self._publisher)
        except MlrunError as error:
            self._failure = error
        except OSError as error:  # the run was removed, or the disk is full
            self._failure = MlrunError(f"{error.strerror}: {error.filename}")

    def _forward(self, publisher: Publisher) -> None:
        delay = _EVERY
        while self._record is None:
            try:
                while publisher.step() and self._record is None:
                    pass
                delay, self._failure = _EVERY, None
            except RejectedError as error:
                self._failure = error
                delay = _SLOWEST
            except MlrunError as error:
                self._failure = error
                delay = min(2 * delay, _SLOWEST)
            self._wake.wait(delay)
        if self._record:
            publisher.end(self._record)
            self._failure = None
