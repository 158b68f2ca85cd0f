"""The states of a run, and how one is ended from outside."""

from __future__ import annotations

import signal
from typing import Optional

from runner.errors import StoreError
from runner.worker.clock import now
from runner.worker.facts import Cancellation, Claim
from runner.worker.processes import myself
from runner.worker.results import Failure, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.values import dataclass

PLANNED, SUBMITTED, PREPARING, RUNNING = "planned", "submitted", "preparing", "running"
ORPHANED, UNREACHABLE = "orphaned", "unreachable"
SUCCEEDED, FAILED, KILLED, LOST = "succeeded", "failed", "killed", "lost"
ENDED = frozenset({SUCCEEDED, FAILED, KILLED, LOST})


@dataclass(frozen=True)
class State:
    """A state by name; ``outcome`` where the run has ended; ``remark`` where more is to be said of one that goes on."""

    name: str
    outcome: Optional[Outcome] = None
    remark: str = ""  # for people: why it is unreachable, what it was doing when last seen
    started: Optional[str] = None  # of one that goes on: when its command began
    arrived: bool = True  # False: it is still on its way to the machine that is to carry it out

    @property
    def ended(self) -> bool:
        """Whether it will never change again."""
        return self.name in ENDED


def abandon(run: RunDirectory, failure: Failure) -> None:
    """End a run whose worker is known to have gone before it could claim it; nothing happens where it has claimed."""
    if run.write(Claim(myself(), now())):
        run.write(Outcome(status=FAILED, at=now(), reason="submit", error=failure))
        run.secrets.unlink(missing_ok=True)


def conclude(run: RunDirectory, outcome: Outcome) -> State:
    """End a run with an outcome, unless there is another already; return its state then."""
    try:
        if not run.write(outcome):
            outcome = run.read(Outcome)
        run.secrets.unlink(missing_ok=True)
        run.variables.unlink(missing_ok=True)
    except (StoreError, OSError):  # no room, or no right to write: the next look tries again
        pass
    return State(outcome.status, outcome)


def killed(asked: Cancellation) -> Outcome:
    """Return the outcome of a run whose end was asked for, and which nobody carries out any more."""
    number = signal.Signals[f"SIG{asked.signal}"]
    return Outcome(status=KILLED, at=now(), signal=number, error=Failure(f"cancelled by {number.name}"))
