"""What a run is doing, read off its files and processes and never stored twice."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Optional

from runner.worker.clock import now
from runner.worker.facts import Cancellation, Claim, Failure, Outcome, Request, Start
from runner.worker.processes import is_alive, myself
from runner.worker.rundir import RunDirectory

PLANNED, SUBMITTED, PREPARING, RUNNING = "planned", "submitted", "preparing", "running"
ORPHANED, UNREACHABLE = "orphaned", "unreachable"
SUCCEEDED, FAILED, KILLED, LOST = "succeeded", "failed", "killed", "lost"
_LAUNCH_GRACE = 30.0  # seconds a launched worker may take to claim its run after its submitter died
ENDED = frozenset({SUCCEEDED, FAILED, KILLED, LOST})


@dataclass(frozen=True)
class State:
    """A state by name; ``outcome`` where the run has ended."""

    name: str
    outcome: Optional[Outcome] = None

    @property
    def ended(self) -> bool:
        """Whether it will never change again."""
        return self.name in ENDED


def look(run: RunDirectory) -> State:
    """Return a run's state; a run whose processes are gone without a word is settled as lost, once."""
    outcome = run.find(Outcome)
    if outcome is not None:
        return State(outcome.status, outcome)
    claim = run.find(Claim)
    if claim is None:
        return _look_before_claim(run)
    start = run.find(Start)
    worker, child = is_alive(claim.worker), None if start is None else is_alive(start.child)
    if worker is None:
        return State(UNREACHABLE)
    if worker:
        return State(PREPARING if start is None else RUNNING)
    if child:
        return State(ORPHANED)
    return _settle(run, start)


def _look_before_claim(run: RunDirectory) -> State:
    """A run nobody carries: submitted while its submitter lives; else taken, so that no late worker starts it."""
    request = run.find(Request)
    if request is not None and request.submitter is not None and is_alive(request.submitter) is False:
        age = time.time() - run.path.stat().st_mtime
        if age > _LAUNCH_GRACE and run.write(Claim(myself(), now())):
            return _settle(run, None)
    return State(SUBMITTED if run.ticket.exists() else PLANNED)


def _settle(run: RunDirectory, start: Optional[Start]) -> State:
    # The worker writes its outcome before it goes: one that came between our two looks is the truth.
    outcome = run.find(Outcome)
    if outcome is None:
        run.write(_lost(run, start))
        outcome = run.read(Outcome)
    return State(outcome.status, outcome)


def _lost(run: RunDirectory, start: Optional[Start]) -> Outcome:
    if start is None:
        message = "the run was given up before its command began: mlrun was killed, or the machine went down"
    else:
        message = "the worker and the command are gone without a word: they were killed, or the machine went down"
    status = KILLED if run.has(Cancellation) else LOST
    return Outcome(status=status, at=now(), error=Failure(message, hint=f"see {run.worker_log}, and run it again"))
