"""What a run is doing, read off its files and processes and never stored twice."""

from __future__ import annotations

import math
import os
import time
from typing import Optional

from runner.worker.clock import now
from runner.worker.facts import (
    Cancellation,
    Claim,
    Identity,
    InstalledEnvironment,
    Launching,
    Placement,
    Request,
    Start,
)
from runner.worker.processes import is_alive, myself
from runner.worker.results import Failure, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.state import (
    LOST,
    ORPHANED,
    PLANNED,
    PREPARING,
    RUNNING,
    SUBMITTED,
    UNREACHABLE,
    State,
    conclude,
    killed,
)

_SCARCE = 1 << 16  # bytes on a disk: less is none
_ARRIVAL_GRACE = 900.0  # the same, where another machine brought the run: it may try again over another connection
_LAUNCH_GRACE = 30.0  # seconds a launched worker may take to claim its run after its submitter died


def look(run: RunDirectory) -> State:
    """Return a run's state; a run whose processes are gone without a word is settled as lost, once."""
    outcome = run.find(Outcome)
    if outcome is not None:
        return State(outcome.status, outcome)
    claim = run.find(Claim)
    if claim is None:
        return _look_before_claim(run)
    worker = is_alive(claim.worker)
    launched = None if worker else _look_at_job(run)
    if launched is not None:
        return launched
    start = run.find(Start)  # after the look at the worker: one that is gone writes nothing more
    began = None if start is None else start.at
    if worker is not False:
        return State(UNREACHABLE if worker is None else PREPARING if start is None else RUNNING, started=began)
    if start is not None and (is_alive(start.child) or _contained(run)):
        return State(ORPHANED, started=began)
    return settle(run, start)


def settle(run: RunDirectory, start: Optional[Start]) -> State:
    """End a run that nobody carries out any more: it is lost, or killed where that was asked."""
    # The worker writes its outcome before it goes: one that came between our two looks is the truth.
    outcome = run.find(Outcome)
    return conclude(run, _lost(run, start)) if outcome is None else State(outcome.status, outcome)


def _contained(run: RunDirectory) -> bool:
    """Whether a command goes on in a container, whose engine needs no process of ours for that."""
    installed = run.find(InstalledEnvironment)
    if installed is None or installed.container is None:
        return False
    from runner.worker.containers.control import of

    container = of(run)
    return container is not None and container.lives()


def _look_at_job(run: RunDirectory) -> Optional[State]:
    """Return the state of a run that its worker handed to a launcher; None for any other."""
    if not run.has(Launching):
        return None
    from runner.worker.slurm.look import look as look_at_job

    return look_at_job(run)


def _look_before_claim(run: RunDirectory) -> State:
    """A run nobody carries: submitted while its submitter lives; else taken, so that no late worker starts it."""
    request = None if _is_elsewhere(run) else run.find(Request)
    if request is not None and request.submitter is not None:
        age = time.time() - run.path.stat().st_mtime
        if age > _grace(run, request.submitter) and run.write(Claim(myself(), now())):
            return settle(run, None)
    return State(SUBMITTED if run.ticket.exists() else PLANNED)


def _grace(run: RunDirectory, submitter: Identity) -> float:
    """Return how many seconds a run may be without a worker before none is expected any more."""
    alive = is_alive(submitter)
    if alive is False:
        return _LAUNCH_GRACE
    return _ARRIVAL_GRACE if alive is None and run.has(Placement) else math.inf


def _is_elsewhere(run: RunDirectory) -> bool:
    """Whether another machine has the run: a backend places a run on this one before it writes the ticket."""
    return run.ticket.exists() and not run.has(Placement)


def _lost(run: RunDirectory, start: Optional[Start]) -> Outcome:
    asked = run.find(Cancellation)
    if asked is not None:
        return killed(asked)
    full = _is_full(run)
    cause = "the disk of the store is full" if full else "killed, or the machine went down"
    if start is None:
        message = f"the run was given up before its command began: {'' if full else 'mlrun was '}{cause}"
    else:
        message = f"the worker and the command are gone without a word: {'' if full else 'they were '}{cause}"
    hint = "free some space (`mlrun gc`, `mlrun env prune`)" if full else f"see {run.worker_log}"
    return Outcome(status=LOST, at=now(), error=Failure(message, hint=f"{hint}, and run it again"))


def _is_full(run: RunDirectory) -> bool:
    """Whether a worker could not have said how the run ended, for want of room."""
    there = os.statvfs(run.path)
    return there.f_bavail * there.f_frsize < _SCARCE
