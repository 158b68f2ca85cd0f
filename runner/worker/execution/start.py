"""Carries a run out, once: claims it, prepares it, executes it, and says how it ended, whatever happens."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from runner.errors import MlrunError, StoreError
from runner.worker.clock import now
from runner.worker.execution import kin
from runner.worker.execution.progress import teller
from runner.worker.execution.signals import TIME_IS_UP, Cancelled, Signals
from runner.worker.facts import Cancellation, Claim, Placement, Start
from runner.worker.files import cure
from runner.worker.processes import myself
from runner.worker.results import Failure, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec

if TYPE_CHECKING:
    from runner.worker.execution.prepare import Job

    Work = Callable[[Job, Signals, list[str]], Optional[Outcome]]  # the stages that it comes to are appended
    Revise = Callable[[RunDirectory, Outcome], Outcome]

_BALLAST = bytes(1 << 16)  # given back before the outcome is written, so that it finds room on a full disk
_GRACE = 2.0  # seconds between TERM and KILL for what prepared a run that was cancelled


def start(directory: Path) -> int:
    """Carry out the run in ``directory``, or hand it to its launcher; nothing happens where another has claimed it."""
    run = RunDirectory(directory)
    return _conclude(run, lambda: run.write(Claim(myself(), now())), _prepare_and_execute)


def execute_here(directory: Path) -> int:
    """Carry out a run that was prepared elsewhere, and handed to a launcher; nothing happens where it has ended."""
    run = RunDirectory(directory)
    from runner.worker.slurm.node import revise

    return _conclude(run, lambda: not (run.has(Outcome) or run.has(Start)), _execute_prepared, revise)


def _conclude(run: RunDirectory, may_begin: Callable[[], bool], work: Work, revise: Optional[Revise] = None) -> int:
    """Do the work of a run, where it may begin, and leave an outcome if that is the end of it."""
    signals = Signals()
    signals.install()
    signals.raising = True
    try:
        if not may_begin():
            return 0
        outcome = _carry_out(run, signals, work)
    except Cancelled as cancelled:
        outcome = _cancelled(cancelled.number)
    signals.raising = False
    kin.end(signals.relatives, _GRACE)
    if outcome is None:
        run.reserve.unlink(missing_ok=True)
        return 0
    _clear(run, outcome)
    return 0 if _settle(run, outcome if revise is None else revise(run, outcome)) else 1


def _carry_out(run: RunDirectory, signals: Signals, work: Work) -> Optional[Outcome]:
    stages = ["prepare"]
    try:
        early = run.find(Cancellation)  # from before the claim: nobody can have sent us a signal
        if early is not None:
            return _cancelled(signal.Signals[f"SIG{early.signal}"])
        _set_room_aside(run)
        from runner.worker.execution.prepare import Job

        placement = run.read(Placement)
        if placement.setup:
            from runner.worker.execution.setup import apply

            apply(placement.setup)
        job = Job(run, run.read(RunSpec), placement, teller(run.progress))
        return work(job, signals, stages)
    except MlrunError as error:
        return _failed(stages[-1], error.message, error.hint)
    except Exception as error:  # noqa: BLE001 - a run ends in a terminal state, whatever happens
        return _failed(stages[-1], *_unforeseen(run, error))


def _set_room_aside(run: RunDirectory) -> None:
    try:
        run.reserve.write_bytes(_BALLAST)
    except OSError as error:
        message = f"there is no room to work in {run.path}: {error.strerror}"
        raise StoreError(message, hint=cure(error)) from None


def _prepare_and_execute(job: Job, signals: Signals, stages: list[str]) -> Optional[Outcome]:
    from runner.worker.execution.prepare import prepare, prepare_for_later

    if job.placement.launcher == "slurm":
        from runner.worker.slurm.hand_over import hand_over

        prepare_for_later(job)
        stages.append("submit")
        hand_over(job, signals)
        return None
    with ExitStack() as stack:
        prepared = prepare(job, stack)
        stages.append("submit")
        from runner.worker.execution.execute import execute

        return execute(job, prepared, signals)


def _execute_prepared(job: Job, signals: Signals, stages: list[str]) -> Optional[Outcome]:
    from runner.worker.execution.execute import execute
    from runner.worker.slurm.node import take_over

    with ExitStack() as stack:
        prepared = take_over(job, stack)
        stages.append("submit")
        return execute(job, prepared, signals)


def _unforeseen(run: RunDirectory, error: Exception) -> tuple[str, str]:
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f": {os.fsdecode(error.filename)}"
        return f"{error.strerror}{place}", f"the details are in {run.worker_log}" if _trace() else ""
    _trace()
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return f"mlrun itself failed: {what}", f"this is a defect of mlrun; the details are in {run.worker_log}"


def _trace() -> bool:
    """Write down what happened; False where the disk takes no more."""
    import traceback

    try:
        traceback.print_exc()
    except OSError:
        return False
    return True


def _failed(reason: str, message: str, hint: str) -> Outcome:
    return Outcome(status="failed", at=now(), reason=reason, error=Failure(message, hint))


def _cancelled(number: int) -> Outcome:
    if number == TIME_IS_UP:
        error = Failure("the job ran out of its time before the command began", "raise `time` under `resources`")
        return Outcome(status="failed", at=now(), reason="timeout", error=error)
    return Outcome(status="killed", at=now(), signal=number, error=Failure("cancelled before the command began"))


def _clear(run: RunDirectory, outcome: Outcome) -> None:
    """Remove what only this worker needed, and a fresh directory in which no command has worked."""
    from runner.worker.execution.workplace import tear_down

    for path in (run.reserve, run.secrets):
        path.unlink(missing_ok=True)
    tear_down(run.scratch)
    tear_down(run.brought)
    if outcome.usage is None:
        tear_down(run.work)


def _settle(run: RunDirectory, outcome: Outcome) -> bool:
    """Write the outcome; False where there is no room even for that: the run will be found lost."""
    try:
        run.write(outcome)
    except StoreError:
        _trace()
        return False
    return True
