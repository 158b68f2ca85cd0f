"""Make a run of what was prepared and hand it to its backend; from then on nobody needs this process."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from runner import __version__
from runner.backends.backend import Backend, Launch, Ticket
from runner.backends.warm import dismiss, dismissed_on_error, expect, warmed
from runner.errors import MlrunError, StoreError
from runner.flow.actor import actor
from runner.flow.ask import Ask, Labels, Say
from runner.flow.prepare import Prepared, prepare
from runner.records.clean import clean_argv, clean_text
from runner.store.store import Store
from runner.worker.clock import now
from runner.worker.facts import Request
from runner.worker.processes import myself
from runner.worker.results import Failure, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.values import dataclass

TOOL = f"mlproject-runner {__version__}"


@dataclass(frozen=True)
class Started:
    """A run that was handed over."""

    run: RunDirectory
    ticket: Ticket
    backend: Backend
    spec: RunSpec


class Interrupts(Protocol):
    """What may end a run before it is handed over, as a Ctrl-C."""

    def hold(self) -> None:
        """Wait from now on, for a run is being made."""

    def end(self, run: RunDirectory) -> None:
        """End this run, where it has waited for that: it is handed over, or its backend looks for cancel.json."""


class _Uninterrupted:
    def hold(self) -> None:
        pass

    def end(self, run: RunDirectory) -> None:
        pass


UNINTERRUPTED = _Uninterrupted()


def start(
    ask: Ask,
    store: Store,
    say: Say,
    *,
    foreground: bool = True,
    backend: Backend | None = None,
    interrupts: Interrupts = UNINTERRUPTED,
) -> Started:
    """Plan and launch a run; returns when the backend has it. MlrunError before that leaves no run behind.

    ``backend`` is the one that ``ask`` names, where the caller had it get ready already.
    """
    backend = backend or warmed(ask.backend, foreground=foreground, config=ask.backend_config)
    if not getattr(backend, "in_place", True):  # where it carries runs out, nobody has the project's directory
        ask = replace(ask, isolated=True)
    with dismissed_on_error(backend), store.writing(), prepare(ask, store, say) as prepared:
        request = request_for(prepared, ask.labels, ask.argv, store.new_id(), backend=ask.backend)
        past = _reusable(ask, prepared, store)
        if past is None:
            expect(backend)
        else:
            from runner.backends.reused import ReusedBackend

            dismiss(backend)
            backend, request = ReusedBackend(past), replace(request, reused=past.id, backend="local")
        run = make(prepared, request, store, say, interrupts)
    launch = replace(prepared.launch, foreground=foreground, say=say)
    return submit(run, store, backend, launch, prepared.spec, interrupts)


def _reusable(ask: Ask, prepared: Prepared, store: Store) -> RunDirectory | None:
    """Return the past run whose results stand in place now; None where the command has to be executed."""
    if not ask.reuse or ask.upgrade or ask.upgrade_packages or ask.exclude_newer is not None:
        return None
    from runner.flow.reuse import find_reusable, put_in_place  # a run that is executed needs none of it

    past = find_reusable(prepared, store)
    return past if past is not None and put_in_place(past, prepared, store) else None


def make(prepared: Prepared, request: Request, store: Store, say: Say, interrupts: Interrupts) -> RunDirectory:
    """Say what was odd about a prepared run, and make its directory; the store is held for writing."""
    for remark in prepared.remarks:
        say(remark)
    interrupts.hold()
    return store.create(request, prepared.spec, prepared.source)


def submit(
    run: RunDirectory,
    store: Store,
    backend: Backend,
    launch: Launch,
    spec: RunSpec,
    interrupts: Interrupts,
) -> Started:
    """Hand a run to its backend; a refusal ends the run as failed, and is raised. It is gone where there is no room."""
    if getattr(backend, "heeds_cancel", False):
        interrupts.end(run)
    try:
        ticket = backend.submit(run, store, launch)
    except Exception as error:
        failure = Failure(getattr(error, "message", str(error)), getattr(error, "hint", ""))
        _fail(run, store, failure)
        raise
    return Started(run, ticket, backend, spec)


def _fail(run: RunDirectory, store: Store, failure: Failure) -> None:
    try:
        run.write(Outcome(status="failed", reason="submit", at=now(), error=failure))
    except StoreError:
        if not run.ticket.exists():  # nobody was told of it: better no run than one that seems to be under way
            with suppress(MlrunError):
                store.remove(run)


def request_for(
    prepared: Prepared,
    labels: Labels,
    argv: tuple[str, ...],
    identity: str,
    *,
    backend: str,
    rerun_of: str | None = None,
) -> Request:
    """Return who asks for what is prepared, when, why and with what words; ``identity`` is the run's id."""
    return Request(
        id=identity,
        created=now(),
        actor=actor(prepared.project if prepared.project.is_dir() else Path.cwd()),
        uri=prepared.display,
        argv=clean_argv(argv),
        cwd=os.getcwd(),  # noqa: PTH109 - a str is wanted
        tool=TOOL,
        name=clean_text(labels.name),
        why=clean_text(labels.why),
        tags={name: clean_text(value) for name, value in labels.tags.items()},
        experiment=labels.experiment,
        experiment_id=labels.experiment_id,
        tracking_uri=labels.tracking_uri,
        backend=backend,
        submitted_from=socket.gethostname(),
        submitter=myself(),
        parent=os.environ.get("MLRUN_RUN_ID"),
        rerun_of=rerun_of,
        mode=prepared.launch.mode,
    )
