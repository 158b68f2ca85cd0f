"""A backend that executes nothing: a run whose results another run has already come to takes them over."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.backends.backend import Launch, Sink, Ticket
from runner.backends.exit_codes import exit_code
from runner.worker.clock import now
from runner.worker.facts import Claim, InstalledEnvironment
from runner.worker.look import look
from runner.worker.objects import clone_or_copy
from runner.worker.processes import myself
from runner.worker.results import REUSED, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.state import State

if TYPE_CHECKING:
    from runner.store.store import Store


class ReusedBackend:
    """Takes the results of one past run; for the runs that are submitted to it, never asked for by name."""

    in_place = True

    def __init__(self, past: RunDirectory) -> None:
        """Name the run that has the results."""
        self._past = past

    def submit(self, run: RunDirectory, store: Store, launch: Launch) -> Ticket:
        """Copy what the past run left, and end the run as succeeded."""
        place = launch.place(str(store.root), str(store.cache))
        run.write(replace(place, root=None if launch.root is None else str(launch.root), inputs=launch.inputs))
        run.write(Claim(myself(), now()))
        past = self._past
        for path in (past.inputs, past.traced, past.outputs, past.stdout, past.stderr, past.metrics):
            if path.exists():
                clone_or_copy(path, run.path / path.name)
        environment = past.find(InstalledEnvironment)
        if environment is not None:
            run.write(environment)
        for path in (past.tracking, past.artifacts, past.children):
            if path.is_dir():
                shutil.copytree(path, run.path / path.name, symlinks=True, copy_function=_copy)
            elif path.exists():
                clone_or_copy(path, run.path / path.name)
        run.write(Outcome("succeeded", now(), reason=REUSED, exit_code=0, logs=past.read(Outcome).logs))
        return Ticket(run.id, "local", str(run.path))

    def look(self, tickets: Sequence[Ticket]) -> Mapping[str, State]:
        """Return the state of each run: it has ended as it was submitted."""
        return {ticket.run: look(RunDirectory(Path(ticket.directory))) for ticket in tickets}

    def follow(self, ticket: Ticket, sink: Sink) -> int:
        """Pass on what the past run printed."""
        run = RunDirectory(Path(ticket.directory))
        for path, pass_on in ((run.stdout, sink.stdout), (run.stderr, sink.stderr)):
            if path.exists():
                with path.open("rb") as stream:
                    while data := stream.read(1 << 20):
                        pass_on(data)
        return exit_code(run.read(Outcome))

    def cancel(self, ticket: Ticket, signal: str = "TERM") -> None:
        """Nothing goes on that could be ended."""

    def collect(self, ticket: Ticket, run: RunDirectory) -> None:
        """Everything is there already."""


def _copy(source: str, target: str) -> None:
    clone_or_copy(source, target)
