"""The state of a run that was handed to Slurm: read off its files first, then off what Slurm says of its job."""

from __future__ import annotations

import signal
from typing import Optional

from runner.worker import state
from runner.worker.clock import now
from runner.worker.facts import Cancellation, Launched, Launching, Start
from runner.worker.results import Failure, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.slurm import queue, submit
from runner.worker.slurm.commands import SilentError, answer
from runner.worker.slurm.queue import Job
from runner.worker.state import PREPARING, RUNNING, SUBMITTED, UNREACHABLE, State

_LIMIT = "DUE TO TIME LIMIT"  # as slurmd writes it into a job's output
_NO_OUTPUT = "0:53"  # how slurmd ends a job whose output it cannot write


def look(run: RunDirectory) -> Optional[State]:
    """Return a run's state where a job has it; None where none has."""
    access = submit.access_of(run)
    if access is None:
        return None
    try:
        launched = submit.job_of(run, access)
        return None if launched is None else _by_job(run, launched, access)
    except SilentError as error:
        return State(UNREACHABLE, remark=error.message)


def _said(run: RunDirectory) -> str:
    """Return the end of what slurmd and the script have written into the job's output."""
    try:
        return run.launcher_log.read_bytes()[-65536:].decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _by_job(run: RunDirectory, launched: Launched, access: Launching) -> State:
    job = queue.find(launched.job, run.id, access)
    if job is None:
        if not access.route and queue.cluster_name(access) != access.cluster:
            remark = f"it is job {launched.job} of the cluster {access.cluster}, which cannot be asked from here"
            return State(UNREACHABLE, remark=remark)
        return settle(run, _forgotten(run, launched))
    if job.has_ended:
        return settle(run, _verdict(run, job, access), job)
    start = run.find(Start)
    if start is not None:
        return State(RUNNING, started=start.at)
    if job.is_pending:
        return State(SUBMITTED, remark=f"job {job.id} is pending{_why_pending(job.reason)}")
    return State(PREPARING, remark=f"job {job.id} begins on {job.nodes}")


def _why_pending(reason: str) -> str:
    if reason == "None":
        return ""
    stuck = any(word in reason for word in _STUCK)
    return f" ({reason})" + (": it will not begin as it is, see `scontrol show job`" if stuck else "")


def settle(run: RunDirectory, outcome: Outcome, job: Optional[Job] = None) -> State:
    """End a run whose job is over, unless it has said itself how it ended.

    What was prepared for it is removed where the job never had a node. Else it stays: a file system of the network may
    not show us yet that a command has written there.
    """
    settled = state.conclude(run, outcome)
    if settled.outcome == outcome and job is not None and not job.nodes:
        from runner.worker.execution.workplace import tear_down

        run.reserve.unlink(missing_ok=True)
        for directory in (run.scratch, run.work):
            tear_down(directory)
    return settled


def _verdict(run: RunDirectory, job: Job, access: Launching) -> Outcome:
    """Return how a run ended whose job ended and which has not said itself how."""
    asked = run.find(Cancellation)
    if asked is not None:
        return state.killed(asked)
    if job.state in ("CANCELLED", "PREEMPTED", "REVOKED"):
        return _killed(job.state, job.id, _place(job))
    if job.state in _REASONS:
        return _for_reason(job.state, job.id, _place(job))
    return _died(run, job, access)


def _died(run: RunDirectory, job: Job, access: Launching) -> Outcome:
    """Return the end of a run whose worker on the node went without a word."""
    log = _said(run)
    if _ran_out_of_memory(log):
        return _for_reason("OUT_OF_MEMORY", job.id, _place(job))
    code = _exit_code(job, access)
    if run.has(Start):
        how = f"was ended by signal {code.partition(':')[2]}" if code.startswith("0:") else f"ended with code {code}"
        message = f"the worker of job {job.id}{_place(job)} {how} before it could say how the command ended"
        return Outcome("lost", now(), error=Failure(message, f"see {run.launcher_log}, and run it again"))
    message = f"job {job.id} could not begin{_place(job)}: {_why_not(run, job, code, log)}"
    return Outcome("failed", now(), reason="submit", error=Failure(message, _cure(run, job, code, log)))


def _why_not(run: RunDirectory, job: Job, code: str, log: str) -> str:
    if log:
        return log.splitlines()[-1].strip()
    if code == _NO_OUTPUT or job.reason == "JobLaunchFailure":
        return f"the node could not write into the run directory {run.path}"
    return f"it ended with code {code} ({job.reason})"


def _cure(run: RunDirectory, job: Job, code: str, log: str) -> str:
    if job.reason == "BadConstraints":
        return "no node has what `resources` ask for: `sinfo -N -l` shows what there is"
    if code == _NO_OUTPUT and not log:
        return "login node and nodes have to share the directory of the store: point MLRUN_HOME at one that they share"
    if code.startswith("127:"):
        return "the Python that mlrun runs with here has to be there on the nodes too, under the same path"
    return f"see {run.launcher_log}"


def _forgotten(run: RunDirectory, launched: Launched) -> Outcome:
    """Return the end of a run of whose job Slurm knows nothing any more: what its own messages tell."""
    asked = run.find(Cancellation)
    if asked is not None:
        return state.killed(asked)
    told = as_told(run, launched)
    if told is not None:
        return told
    begun = "it had begun" if run.has(Start) else "it had not begun"
    message = f"Slurm knows nothing of job {launched.job} any more, and {begun}"
    return Outcome("lost", now(), error=Failure(message, "run it again"))


def as_told(run: RunDirectory, launched: Launched) -> Optional[Outcome]:
    """Return how a job ended by what slurmd has written into its output; None where that says nothing of it."""
    log = _said(run)
    if _LIMIT in log:
        return _for_reason("TIMEOUT", launched.job)
    if _ran_out_of_memory(log):
        return _for_reason("OUT_OF_MEMORY", launched.job)
    if "DUE TO NODE FAILURE" in log:
        return _for_reason("NODE_FAIL", launched.job)
    if "DUE TO PREEMPTION" in log:
        return _killed("PREEMPTED", launched.job)
    return _killed("CANCELLED", launched.job) if "CANCELLED AT" in log else None


_STUCK = (  # reasons that time alone does not mend
    *("PartitionTimeLimit", "PartitionNodeLimit", "PartitionConfig", "BadConstraints", "InvalidAccount", "InvalidQOS"),
    *(
        "DependencyNeverSatisfied",
        "JobHeld",
        "QOSNotAllowed",
        "AccountNotAllowed",
        "MaxMemPerLimit",
        "MaxJobsPerAccount",
    ),
)
_AGAIN = "run it again; `sinfo -R` says what is wrong with the node"
_REASONS = {
    "TIMEOUT": ("timeout", "ran out of its time", "raise `time` under `resources`"),
    "DEADLINE": ("timeout", "ran out of its time: its deadline has come", "run it again with a later deadline"),
    "OUT_OF_MEMORY": ("out-of-memory", "ran out of memory", "raise `memory` under `resources`"),
    "NODE_FAIL": ("node-fail", "lost its node", _AGAIN),
    "BOOT_FAIL": ("node-fail", "got a node that did not boot", _AGAIN),
    "LAUNCH_FAILED": ("node-fail", "could not be launched", _AGAIN),
    "RECONFIG_FAIL": ("node-fail", "got a node that could not be set up", _AGAIN),
}


def _for_reason(what: str, job: str, place: str = "") -> Outcome:
    reason, text, hint = _REASONS[what]
    return Outcome("failed", now(), reason=reason, error=Failure(f"job {job} {text}{place}", hint))


def _killed(what: str, job: str, place: str = "") -> Outcome:
    by = "cancelled by hand" if what == "CANCELLED" else f"{what.lower()} by Slurm"
    return Outcome("killed", now(), signal=signal.SIGTERM, error=Failure(f"job {job} was {by}{place}"))


def _ran_out_of_memory(log: str) -> bool:
    return "exceeded memory limit" in log or "Exceeded job memory limit" in log or "oom-kill event" in log.lower()


def _place(job: Job) -> str:
    return f" on {job.nodes}" if job.nodes else ""


def _exit_code(job: Job, access: Launching) -> str:
    """Return a job's exit code and signal as Slurm writes them, `3:0`; "" where it is not known."""
    try:
        text = answer("scontrol", "show", "job", "-o", job.id, access=access)
    except SilentError:
        return ""
    return next((word.partition("=")[2] for word in text.split() if word.startswith("ExitCode=")), "")
