"""Hands a prepared run to Slurm on the login node; from then on its worker there is not needed any more."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING

from runner.errors import MlrunError
from runner.worker.facts import Cancellation
from runner.worker.slurm.cancel import cancel
from runner.worker.slurm.submit import submit

if TYPE_CHECKING:
    from runner.worker.execution.prepare import Job
    from runner.worker.execution.signals import Signals

_LATE = 2.0  # seconds between somebody's note that a run is to end, and the signal that says so
_WORDS: Mapping[int, str] = {signal.SIGINT: "INT", signal.SIGTERM: "TERM", signal.SIGKILL: "KILL"}


def hand_over(job: Job, signals: Signals) -> None:
    """Submit a run's job, and end it at once where somebody asked for that meanwhile.

    Who asks writes cancel.json, then looks for launch.json: where it is, he tells the job, else us. We look the other
    way round, and tell the job only if we were told: a second INT would kill it.
    """
    signals.raising = False  # sbatch is not interrupted: whether there is a job would not be known
    launched = submit(job.run, job.spec, job.placement)
    job.say(f"submitted as job {launched.job}")
    if not job.run.has(Cancellation):
        return
    asked = [number for number in signals.wait(_LATE) if number in _WORDS]
    if asked:
        try:
            cancel(job.run, _WORDS[asked[0]])
        except MlrunError as error:  # the job finds the note when it begins, and goes
            job.say(error.message)
