"""Ends a run on the host where it is: by its worker if that lives, else with our own hands."""

from __future__ import annotations

import os
import signal as numbers
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from runner.errors import BackendError
from runner.worker.clock import now
from runner.worker.execution import kin
from runner.worker.execution.supervise import KILL, TERM, Step
from runner.worker.facts import Cancellation, Claim, Identity, InstalledEnvironment, Launched, Launching, Start
from runner.worker.look import look, settle
from runner.worker.processes import is_alive, myself
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.state import State

if TYPE_CHECKING:
    from runner.worker.containers.control import Running

_STEP = 0.02
_WORDS: Mapping[str, int] = {"INT": numbers.SIGINT, "TERM": numbers.SIGTERM, "KILL": numbers.SIGQUIT}  # to a worker


def cancel(run: RunDirectory, signal: str = "TERM", by: str = "") -> State:
    """Ask for the end of a run: INT, TERM or KILL. Returns at once where a worker sees to it, else when it is over."""
    if run.has(Outcome):
        return look(run)
    run.write(Cancellation(now(), by or f"pid {os.getpid()}", signal))
    claim = run.find(Claim)
    if claim is None and run.write(Claim(myself(), now())):
        return settle(run, None)  # no worker has begun, and none will
    claim = run.read(Claim)
    alive = is_alive(claim.worker)
    state = None if alive and not run.has(Launched) else _cancel_job(run, signal)
    if state is not None:
        return state
    if alive is None:
        message = f"the run {run.id} is on {claim.worker.host.partition('/')[0]}, which cannot be reached from here"
        raise BackendError(message, hint="run `mlrun cancel` there")
    if alive:
        os.kill(claim.worker.pid, _WORDS[signal])
        return look(run)
    start = run.find(Start)
    if start is not None:
        _end_orphan(run, start.child, KILL if signal == "KILL" else (*TERM[:1], *KILL))
    return look(run)


def _cancel_job(run: RunDirectory, signal: str) -> Optional[State]:
    """Ask a launcher for the end of a run that it was given; None where it was given none."""
    if not run.has(Launching):
        return None
    from runner.worker.slurm.cancel import cancel as end_job

    return end_job(run, signal)


def _end_orphan(run: RunDirectory, child: Identity, steps: Sequence[Step]) -> None:
    """End a command whose worker is gone, with all that carries its run's id."""
    container = _container(run)
    for number, grace in steps:
        _tell(run, child, container, number)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline:
            if not is_alive(child) and not kin.members(run.id) and not (container is not None and container.lives()):
                return
            time.sleep(_STEP)


def _tell(run: RunDirectory, child: Identity, container: Optional[Running], number: int) -> None:
    brutal = number == numbers.SIGKILL
    if is_alive(child) and (container is None or brutal):
        kin.tell_group(child.pid, number)
    if container is None:
        kin.tell(kin.members(run.id), number)
    elif brutal:
        container.remove()
    else:
        container.tell(number)


def _container(run: RunDirectory) -> Optional[Running]:
    installed = run.find(InstalledEnvironment)
    if installed is None or installed.container is None:
        return None
    from runner.worker.containers.control import of

    return of(run)
