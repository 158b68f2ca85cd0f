"""Hands a prepared run to Slurm on the login node; from then on its worker there is not needed any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from runner.worker.execution.signals import Cancelled
from runner.worker.slurm.cancel import withdraw
from runner.worker.slurm.submit import submit

if TYPE_CHECKING:
    from runner.worker.execution.prepare import Job
    from runner.worker.execution.signals import Signals
    from runner.worker.facts import Outcome


def hand_over(job: Job, signals: Signals) -> Optional[Outcome]:
    """Submit a run's job: None. Cancelled where somebody asked for the run's end meanwhile: the job is taken back."""
    signals.raising = False  # sbatch is not interrupted: whether there is a job would not be known
    launched = submit(job.run, job.spec, job.placement)
    job.say(f"submitted as job {launched.job}")
    asked = signals.wait(0)
    if asked:
        withdraw(job.run)
        raise Cancelled(asked[0])
    return None
