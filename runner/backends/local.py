"""Runs on this machine: one detached worker a run, which needs nobody once it is launched."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import worker
from runner.backends.backend import Launch, Sink, Ticket
from runner.backends.exit_codes import exit_code
from runner.backends.tail import Tail
from runner.errors import BackendError, UsageError
from runner.worker.clock import now
from runner.worker.codec import encode
from runner.worker.execution.baggage import Baggage
from runner.worker.execution.kin import WORKER
from runner.worker.facts import Claim, Placement
from runner.worker.files import canonical, pretty, write_once
from runner.worker.look import look
from runner.worker.results import Failure, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.state import UNREACHABLE, State

if TYPE_CHECKING:
    from runner.backends.host import Host
    from runner.store.store import Store

_FLAGS = ("-X", "utf8", "-S", "-E")  # file names are UTF-8; nothing of the caller's Python variables or site-packages


class LocalBackend:
    """The backend `local`."""

    name = "local"

    def __init__(self) -> None:
        """Know no run yet."""
        self._ready: _Ready | None = None
        self._tails: dict[str, Tail] = {}
        self._pids: dict[str, int] = {}
        self._host: Host | None = None
        self._engine = ""  # for containers, by name or path

    def configure(self, config: Mapping[str, Any]) -> None:
        """Take the `host` named, which is this machine; MLflow's own keys mean nothing here, and harm nothing."""
        from runner.backends.choice import host_here

        self._host = host_here({"host": config["host"]}, self.name) if "host" in config else None
        self._engine = config.get("container_engine") or ""
        if not isinstance(self._engine, str):
            message = f"the container engine {self._engine!r} is no name"
            raise UsageError(message, hint="""write it as '{"container_engine": "podman"}'""")

    def submit(self, run: RunDirectory, store: Store, launch: Launch) -> Ticket:
        """Launch a run's worker in a session of its own. BackendError leaves a failed outcome."""
        placement = self._placement(store, launch)
        ticket = Ticket(run.id, self.name, str(run.path), {"launcher": placement.launcher})
        run.write(placement)
        if launch.secrets or launch.installer:
            write_once(run.secrets, canonical(encode(Baggage(launch.secrets, launch.installer))))
        write_once(run.ticket, pretty(ticket.to_json()))
        try:
            self._pids[run.id] = self._launch(run, launch)
        except OSError as error:
            run.secrets.unlink(missing_ok=True)
            message = f"no worker can be started: {error.strerror}"
            run.write(Outcome("failed", now(), reason="submit", error=Failure(message)))
            raise BackendError(message, hint="too many processes, or too little memory; try again later") from None
        return ticket

    def warm(self, *, foreground: bool) -> None:
        """Have a worker import what it needs while the run is still planned: a wish, for a run submitted soon.

        It has this moment's environment variables and directory, and goes away with this process if no run comes.
        """
        with contextlib.suppress(OSError):
            self._ready = _Ready(foreground)

    def dismiss(self) -> None:
        """Let the worker go that was to be ready: no run comes."""
        self._ready = None

    def _placement(self, store: Store, launch: Launch) -> Placement:
        return _placement(store, launch, self._host, self._engine)

    def _launch(self, run: RunDirectory, launch: Launch) -> int:
        ready, self._ready = self._ready, None
        if ready is not None and ready.serves(launch) and ready.hand_over(run):
            return ready.pid
        from runner.worker.tools import launch as start

        return start(
            _argv("start", str(run.path)), env=_environ(run.id), log=run.worker_log, foreground=launch.foreground
        )

    def look(self, tickets: Sequence[Ticket]) -> Mapping[str, State]:
        """Return the state of each run; one that died without a word is settled as lost."""
        return {ticket.run: look(RunDirectory(Path(ticket.directory))) for ticket in tickets}

    def follow(self, ticket: Ticket, sink: Sink) -> int:
        """Pass on what a run says and prints, until it has ended; the exit code."""
        from runner.worker.tools import reap

        run = RunDirectory(Path(ticket.directory))
        tail = self._tails.setdefault(ticket.run, Tail(run))
        state = tail.until_ended(sink, self._pids.get(ticket.run))
        reap()
        if state.name == UNREACHABLE or state.outcome is None:
            message = f"the run {run.id} is on {_host(run)}, and cannot be followed from here"
            raise BackendError(message, hint="ask for it there")
        return exit_code(state.outcome)

    def cancel(self, ticket: Ticket, signal: str = "TERM") -> None:
        """Ask for the end of a run; of one whose worker is gone, see to it ourselves."""
        from runner.worker.execution.cancel import cancel

        cancel(RunDirectory(Path(ticket.directory)), signal)

    def collect(self, ticket: Ticket, run: RunDirectory) -> None:
        """Nothing is to be brought: the run directory is the one the worker wrote."""


class _Ready:
    """A worker that waits for the directory of its run."""

    def __init__(self, foreground: bool) -> None:
        """Start it."""
        from runner.worker.tools import launch

        self._writing = -1  # none yet: an interruption may come at any moment
        self._foreground = foreground
        self._state = (dict(os.environ), _here())
        reading, self._writing = os.pipe()
        try:
            argv, environ = _argv("wait", str(reading)), _environ("next")
            self.pid = launch(argv, env=environ, log=Path(os.devnull), foreground=foreground, keep=(reading,))
        except OSError:
            os.close(self._writing)
            raise
        finally:
            os.close(reading)

    def __del__(self) -> None:
        """Let it go, if it was not needed."""
        with contextlib.suppress(OSError):
            os.close(self._writing)

    def serves(self, launch: Launch) -> bool:
        """Whether all is still as it was when the worker began."""
        return self._foreground == launch.foreground and self._state == (dict(os.environ), _here())

    def hand_over(self, run: RunDirectory) -> bool:
        """Give it its run; False where it is gone, or the name cannot be sent in a line."""
        name = os.fsencode(run.path)
        try:
            return b"\n" not in name and os.write(self._writing, name + b"\n") > len(name)
        except OSError:
            return False


def _argv(*words: str) -> list[str]:
    return [sys.executable, *_FLAGS, str(Path(worker.__file__).with_name("__main__.py")), *words]


def _here() -> tuple[int, int]:
    status = Path().stat()
    return status.st_dev, status.st_ino


def _placement(store: Store, launch: Launch, host: Host | None, engine: str) -> Placement:
    return replace(
        launch.place(str(store.root), str(store.cache)),
        root=None if launch.root is None else str(launch.root),
        inputs=dict(launch.inputs),
        uv=launch.uv,
        python=launch.python,
        mlrun=_own_bin(),
        setup="" if host is None else host.setup,
        container_engine=engine or ("" if host is None else host.container_engine),
    )


def _own_bin() -> str | None:
    """Return the directory of the `mlrun` that runs this, so that a command can start nested runs with it."""
    beside = Path(sys.executable).parent
    if (beside / "mlrun").exists():
        return str(beside)
    found = shutil.which("mlrun")
    return None if found is None else str(Path(found).parent)


def _environ(run: str) -> dict[str, str]:
    environ = {**os.environ, WORKER: run}
    environ.pop("__PYVENV_LAUNCHER__", None)  # macOS: would make every Python below take itself for ours
    return environ


def _host(run: RunDirectory) -> str:
    claim = run.find(Claim)
    return "another machine" if claim is None else claim.worker.host.partition("/")[0]
