"""Carries a run out, once: claims it, prepares it, executes it, and says how it ended, whatever happens."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from runner.errors import MlrunError, StoreError
from runner.worker.clock import now
from runner.worker.execution import kin
from runner.worker.execution.progress import teller
from runner.worker.execution.signals import Cancelled, Signals
from runner.worker.facts import Cancellation, Claim, Failure, Outcome, Placement
from runner.worker.processes import myself
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec

_BALLAST = bytes(1 << 16)  # given back before the outcome is written, so that it finds room on a full disk
_GRACE = 2.0  # seconds between TERM and KILL for what prepared a run that was cancelled


def start(directory: Path) -> int:
    """Carry out the run in ``directory``; nothing happens where another worker has claimed it."""
    run = RunDirectory(directory)
    signals = Signals()
    signals.install()
    signals.raising = True
    try:
        if not run.write(Claim(myself(), now())):
            return 0
        outcome = _carry_out(run, signals)
    except Cancelled as cancelled:
        outcome = _cancelled(cancelled.number)
    signals.raising = False
    kin.end(signals.relatives, _GRACE)
    _clear(run, outcome)
    return 0 if _settle(run, outcome) else 1


def _carry_out(run: RunDirectory, signals: Signals) -> Outcome:
    stage = "prepare"
    try:
        early = run.find(Cancellation)  # from before the claim: nobody can have sent us a signal
        if early is not None:
            return _cancelled(signal.Signals[f"SIG{early.signal}"])
        run.reserve.write_bytes(_BALLAST)
        from runner.worker.execution.prepare import Job, prepare

        job = Job(run, run.read(RunSpec), run.read(Placement), teller(run.progress))
        prepared = prepare(job)
        stage = "submit"
        from runner.worker.execution.execute import execute

        return execute(job, prepared, signals)
    except MlrunError as error:
        return _failed(stage, error.message, error.hint)
    except Exception as error:  # noqa: BLE001 - a run ends in a terminal state, whatever happens
        return _failed(stage, *_unforeseen(run, error))


def _unforeseen(run: RunDirectory, error: Exception) -> tuple[str, str]:
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f": {os.fsdecode(error.filename)}"
        return f"{error.strerror}{place}", f"the details are in {run.worker_log}" if _trace() else ""
    _trace()
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return f"mlrun itself failed: {what}", f"this is a defect of mlrun; the details are in {run.worker_log}"


def _trace() -> bool:
    import traceback

    traceback.print_exc()
    return True


def _failed(reason: str, message: str, hint: str) -> Outcome:
    return Outcome(status="failed", at=now(), reason=reason, error=Failure(message, hint))


def _cancelled(number: int) -> Outcome:
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
