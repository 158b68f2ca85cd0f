"""The node's side of a run: finds what the login node has prepared, says what the node lacks, takes the rest of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Optional

from runner.errors import BackendError, MlrunError
from runner.worker.clock import now, seconds
from runner.worker.execution import baggage
from runner.worker.execution.prepare import Job, Prepared, get_ready
from runner.worker.execution.signals import Cancelled
from runner.worker.execution.workplace import find_again
from runner.worker.facts import Allocation, Cancellation, InstalledEnvironment, Launched
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.slurm.look import as_told
from runner.worker.slurm.submit import note

_SHARED = "login node and nodes have to share it: point {} at a file system that they share"


def take_over(job: Job, stack: ExitStack) -> Prepared:
    """Return all that a run's command needs; MlrunError names what the node does not have.

    The environment is held until ``stack`` is closed.
    Cancelled where somebody has asked for the run's end.
    """
    allocation = allocated(job, os.environ)
    asked = job.run.find(Cancellation)  # after the job was noted: who asks from now on finds the note, and tells us
    if asked is not None:
        raise Cancelled(signal.Signals[f"SIG{asked.signal}"])
    job.say(f"job {allocation.job} runs on {allocation.node}")
    installed = job.run.read(InstalledEnvironment)
    _expect_to_see(allocation.node, job, installed)
    workplace = find_again(job.run, job.spec, job.placement, job.objects)
    luggage = baggage.unpack(job.run)
    baggage.check(luggage, job.spec)
    return replace(get_ready(job, workplace, installed, luggage.secrets, stack), allocation=allocation)


def revise(run: RunDirectory, outcome: Outcome) -> Outcome:
    """Return an outcome as Slurm's own words explain it: TERM may mean a limit, a preemption, a scancel."""
    launched = run.find(Launched)
    told = None
    if outcome.status == "killed" and launched is not None and not run.has(Cancellation):
        told = as_told(run, launched)
    return outcome if told is None else replace(outcome, status=told.status, reason=told.reason, error=told.error)


def allocated(job: Job, environ: Mapping[str, str]) -> Allocation:
    """Return what Slurm says in a job's variables; notes the job where the login node did not live to do so."""
    identity = environ.get("SLURM_JOB_ID", "")
    if not identity:
        message = "this is no job of Slurm: SLURM_JOB_ID is not set"
        raise BackendError(message, hint="`execute` is what a job's script calls; use `mlrun run -b slurm`")
    cluster, partition = environ.get("SLURM_CLUSTER_NAME", ""), environ.get("SLURM_JOB_PARTITION", "")
    launched = job.run.find(Launched) or note(job.run, identity, cluster, partition)
    return Allocation(
        job=identity,
        node=environ.get("SLURMD_NODENAME") or os.uname().nodename,
        cluster=cluster or launched.cluster,
        partition=partition,
        account=environ.get("SLURM_JOB_ACCOUNT", ""),
        qos=environ.get("SLURM_JOB_QOS", ""),
        cpus=_number(environ.get("SLURM_CPUS_ON_NODE", "")),
        gpus=environ.get("SLURM_JOB_GPUS", environ.get("CUDA_VISIBLE_DEVICES", "")),
        queued=max(0.0, round(seconds(now()) - seconds(launched.at), 3)),
    )


def _expect_to_see(node: str, job: Job, installed: InstalledEnvironment) -> None:
    if not os.path.isdir(job.placement.store):
        message = f"the node {node} does not see the store {job.placement.store}"
        raise MlrunError(message, hint=_SHARED.format("MLRUN_HOME"))
    if not installed.prefix:
        return
    if not os.path.isdir(installed.prefix):
        message = f"the node {node} does not see the environment {installed.prefix}"
        raise MlrunError(message, hint=_SHARED.format("MLRUN_CACHE") + ", or it was removed meanwhile: run it again")
    python = os.path.join(installed.bin, "python")
    if not os.path.exists(python):
        message = f"the node {node} lacks the Python of the environment: {os.path.realpath(python)}"
        raise MlrunError(message, hint="install it there, or use a Python that lies on a shared file system")


def _number(text: str) -> Optional[int]:
    return int(text) if text.isdigit() else None
