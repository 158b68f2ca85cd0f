"""Ends a run that Slurm has: a pending job is taken out of the queue, a running one's worker is told."""

from __future__ import annotations

import time

from runner.errors import BackendError
from runner.worker.facts import Launched, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.slurm import queue
from runner.worker.slurm.commands import SilentError, complaint, slurm
from runner.worker.state import State, look

_SIGNALS = {"INT": "INT", "TERM": "TERM", "KILL": "QUIT"}  # KILL itself would end the worker, and not the command
_PATIENCE = 15.0  # seconds for a worker to kill its command, before Slurm does
_SETTLING = 20.0  # seconds for a job to leave the queue
_STEP = 0.1


def cancel(run: RunDirectory, launched: Launched, signal: str) -> State:
    """Ask for the end of a run's job: INT, TERM or KILL. Returns at once where its worker sees to it."""
    try:
        job = queue.find_now(launched.job, run.id, launched.route)
        if job is not None and not job.is_pending and not job.has_ended:
            _tell(launched, "--batch", f"--signal={_SIGNALS[signal]}")
            if signal == "KILL" and not _is_over(run, _PATIENCE):
                _tell(launched)
        elif job is not None and job.is_pending:
            _tell(launched)
            _until_settled(run)
    except SilentError as error:
        message = f"the run {run.id} is job {launched.job}, which cannot be ended now: {error.message}"
        raise BackendError(message, hint=f"{error.hint}; a job that has not begun will not begin any more") from None
    return look(run)


def withdraw(run: RunDirectory) -> None:
    """Take back a job that was submitted for a run that is not to be, as far as Slurm listens."""
    try:
        slurm("scancel", "--quiet", f"--name={run.id}")
    except SilentError:  # it will find the run ended, and go
        return


def _tell(launched: Launched, *words: str) -> None:
    done = slurm("scancel", *words, launched.job, route=launched.route)
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
