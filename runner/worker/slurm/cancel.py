"""Ends a run that Slurm has: a pending job is taken out of the queue, a running one's worker is told."""

from __future__ import annotations

import time
from typing import Optional

from runner.errors import BackendError
from runner.worker.facts import Launching
from runner.worker.look import look
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.slurm import queue
from runner.worker.slurm.commands import SilentError, complaint, slurm
from runner.worker.slurm.submit import access_of, job_of
from runner.worker.state import State

_SIGNALS = {"INT": "INT", "TERM": "TERM", "KILL": "QUIT"}  # KILL itself would end the worker, and not the command
_PATIENCE = 15.0  # seconds for a worker to kill its command, before Slurm does
_SETTLING = 20.0  # seconds for a job to leave the queue
_STEP = 0.1


def cancel(run: RunDirectory, signal: str) -> Optional[State]:
    """Ask for the end of a run's job: INT, TERM or KILL. None where it has no job.

    Returns at once where its worker sees to it. BackendError where Slurm does not answer.
    """
    access = access_of(run)
    try:
        launched = None if access is None else job_of(run, access)
        if access is None or launched is None:
            return None
        _cancel(run, launched.job, access, signal)
    except SilentError as error:
        message = f"the run {run.id} cannot be ended now: {error.message}"
        raise BackendError(message, hint=f"{error.hint}; if its job has not begun, it will not") from None
    return look(run)


def _cancel(run: RunDirectory, identity: str, access: Launching, signal: str) -> None:
    job = queue.find(identity, run.id, access, anew=True)
    if job is None or job.has_ended:
        return
    if job.is_pending:
        _tell(access, identity)
        _until_settled(run)
        return
    _tell(access, "--batch", f"--signal={_SIGNALS[signal]}", identity)
    if signal == "KILL" and not _is_over(run, _PATIENCE):
        _tell(access, identity)


def _tell(access: Launching, *words: str) -> None:
    done = slurm("scancel", *words, access=access)
    if done.code and "Invalid job id" not in done.complaint and "already" not in done.complaint:
        message = f"Slurm does not answer: {complaint(done)}"
        raise SilentError(message, hint="`scontrol ping` says whether the controller is up; ask again later")


def _until_settled(run: RunDirectory) -> None:
    deadline = time.monotonic() + _SETTLING
    while not look(run).ended and time.monotonic() < deadline:
        time.sleep(_STEP)


def _is_over(run: RunDirectory, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not run.has(Outcome) and time.monotonic() < deadline:
        time.sleep(_STEP)
    return run.has(Outcome)
