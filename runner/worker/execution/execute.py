"""Starts a prepared command, watches over it, and takes stock of what it left: files, logs, an outcome."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Optional

from runner.errors import BackendError, StoreError
from runner.worker.clock import now
from runner.worker.execution import artifacts, child, kin, memory, neighbours, opened, outputs, surroundings
from runner.worker.execution.host import host_facts
from runner.worker.execution.inputs import changed_since
from runner.worker.execution.prepare import Job, Prepared, look
from runner.worker.execution.signals import Cancelled, Signals
from runner.worker.execution.supervise import Ended, Watch
from runner.worker.execution.workplace import tear_down
from runner.worker.facts import Gap, Start
from runner.worker.hashing import sha256_of_file
from runner.worker.processes import identify, myself
from runner.worker.results import Failure, Files, Log, Outcome
from runner.worker.tracking.endpoint import Endpoint

_GRACE = 2.0  # seconds for what is left when mlrun itself failed


def execute(job: Job, prepared: Prepared, signals: Signals) -> Outcome:
    """Run the command to its end and return the outcome; leaves start.json, both logs and outputs.json."""
    signals.raising = False
    before = memory.count_kills()
    try:
        ended, blind = _run(job, prepared, signals)
    finally:
        others = () if prepared.workplace.fresh else neighbours.leave(job.cache, prepared.workplace.project, job.run)
    after = memory.count_kills()
    outcome = judge(ended, killed_by_kernel(ended, before, after), after.more_in_group(before))
    if prepared.enclosure is not None:
        outcome = prepared.enclosure.judge(outcome)
    job.run.reserve.unlink(missing_ok=True)
    kept, gaps = _take_stock(job, prepared, signals, tuple(f"run {other}" for other in others))
    if outcome.status == "succeeded" and kept and not job.placement.keep_work:
        tear_down(job.run.work)
    return replace(outcome, at=now(), logs=_seal_logs(job), gaps=(*outcome.gaps, *blind, *gaps))


def judge(ended: Ended, out_of_memory: bool, taken: int = 0) -> Outcome:
    """Return the outcome of a command that has ended; ``taken``: processes of its group that the kernel killed."""
    status, reason, error = _verdict(ended, out_of_memory)
    gaps = []
    if ended.undead:
        gaps.append(Gap("logs", f"{ended.undead} processes outlived even SIGKILL, and may still write"))
    if taken and not out_of_memory:
        what = f"{taken} process{'es' * (taken > 1)} of its control group"
        gaps.append(Gap("result", f"whether it is whole: the kernel killed {what} for want of memory while it ran"))
    return Outcome(
        status=status,
        at=now(),
        reason=reason,
        exit_code=ended.exit_code,
        signal=ended.cancelled if ended.signal is None else ended.signal,
        cancelled=ended.cancelled,
        error=error,
        usage=ended.usage,
        left_behind=ended.left_behind,
        gaps=tuple(gaps),
    )


def killed_by_kernel(ended: Ended, before: memory.Kills, after: memory.Kills) -> bool:
    """Whether a command failed because the kernel ran out of memory, as far as its counters tell."""
    if ended.exit_code == 0 or ended.cancelled is not None or ended.timed_out:
        return False
    return after.more_in_group(before) > 0 or (_by_kill(ended) and after.more_on_machine(before))


def _verdict(ended: Ended, out_of_memory: bool) -> tuple[str, Optional[str], Optional[Failure]]:
    if ended.cancelled is not None:
        end = "" if ended.signal in (None, ended.cancelled) else f", ended by {_name(ended.signal or 0)}"
        return "killed", None, Failure(f"cancelled by {_name(ended.cancelled)}{end}")
    if ended.timed_out:
        return "failed", "timeout", Failure("the command ran out of its time", "raise `time` under `resources`")
    if out_of_memory:
        return (
            "failed",
            "out-of-memory",
            Failure("the kernel killed it: no memory was left", "give it more, or less to do"),
        )
    if ended.signal is not None or ended.exit_code is None:
        return "failed", "exit", _by_signal(ended)
    if ended.exit_code:
        return "failed", "exit", Failure(f"the command exited with code {ended.exit_code}", "its output says why")
    return "succeeded", None, None


def _by_signal(ended: Ended) -> Failure:
    if ended.signal is None:
        return Failure("the command could not be ended", "its processes wait for the kernel, see `ps`")
    hint = "nobody here sent it: the machine may have been out of memory (`dmesg` knows)" if _by_kill(ended) else ""
    return Failure(f"the command was ended by {_name(ended.signal)}", hint)


def _by_kill(ended: Ended) -> bool:
    return ended.signal == signal.SIGKILL or ended.exit_code == 128 + signal.SIGKILL


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _run(job: Job, prepared: Prepared, signals: Signals) -> tuple[Ended, tuple[Gap, ...]]:
    project = prepared.workplace.project
    logs = (job.run.stdout, job.run.stderr)
    # The command holds its environment by itself too: it may outlive us, and nobody may remove it under its feet.
    with Endpoint(job.run) as endpoint:
        environ = endpoint.surround(prepared.environ)
        if prepared.enclosure is not None:
            environ = prepared.enclosure.surround(environ)
        held = child.fork(prepared.argv, project, environ, logs, prepared.hold)
        ended = _watch(job, prepared, signals, held, endpoint)
    gap = Gap("tracking", f"what was logged through MLflow's client is not known: {endpoint.failure}")
    return ended, (gap,) if endpoint.failure else ()


def _watch(job: Job, prepared: Prepared, signals: Signals, held: child.Held, endpoint: Endpoint) -> Ended:
    try:
        _record_start(job, prepared, held.pid)
        kin.adopt_orphans()
        _heed(signals.wait(0))
    except BaseException:
        held.drop()
        raise
    held.release()
    try:
        return Watch(held.pid, signals, job.spec.resources.time, endpoint, prepared.enclosure).until_over()
    except BaseException:
        kin.end(kin.living(os.getpid()), _GRACE)
        raise


def _heed(asked: list[int]) -> None:
    if asked:
        raise Cancelled(asked[0])


def _record_start(job: Job, prepared: Prepared, pid: int) -> None:
    """Write start.json: who links it has the right to begin."""
    if not job.run.write(_start(job, prepared, pid)):
        message = "the run was started by somebody else"
        raise BackendError(message, hint="`mlrun wait` follows it")


def _start(job: Job, prepared: Prepared, pid: int) -> Start:
    identity = identify(pid)
    if identity is None:
        message = "the command's process was ended before it began"
        raise BackendError(message, hint="run it again")
    return Start(
        command=prepared.command,
        argv=prepared.argv,
        cwd=str(prepared.workplace.project),
        child=identity,
        worker=myself(),
        at=now(),
        host=host_facts(),
        environ=surroundings.recorded(prepared.environ, job.spec),
        allocation=prepared.allocation,
    )


def _take_stock(
    job: Job, prepared: Prepared, signals: Signals, others: tuple[str, ...]
) -> tuple[bool, tuple[Gap, ...]]:
    """Write outputs.json; return whether all that is to be kept is in the store. A request to end cuts it short."""
    signals.raising = True
    try:
        written = _seal_outputs(job, prepared)
    except Cancelled:
        gap = Gap("outputs", "not looked at: mlrun was asked to end while it hashed them")
        written = outputs.Written(Files(gaps=(gap,)), kept=False)
    except OSError as error:
        gap = Gap("outputs", f"cannot be looked at: {error}")
        written = outputs.Written(Files(gaps=(gap,)), kept=False)
    finally:
        signals.raising = False
    changed = changed_since(prepared.sights)
    ambiguous = tuple(dict.fromkeys((*written.files.ambiguous, *changed, *others)))
    try:
        job.run.write_files(job.run.outputs, replace(written.files, ambiguous=ambiguous))
    except StoreError as error:  # the command has run, and how it ended is still to be said
        return False, (Gap("outputs", error.message),)
    return written.kept, ()


def _seal_outputs(job: Job, prepared: Prepared) -> outputs.Written:
    after = look(job, prepared.workplace)
    policy = outputs.Policy(
        job.spec.outputs, prepared.workplace.fresh, job.spec.metrics, keep=job.placement.keep_outputs
    )
    root = str(prepared.workplace.project)
    written = outputs.seal(root, prepared.before, after, policy, job.objects, prepared.digests)
    if prepared.traced:
        made = {item.path for item in written.files.files}
        opened.conclude(job.run, prepared.workplace, prepared.before.source, made, prepared.digests)
    prepared.digests.save()
    if not (job.run.artifacts.exists() or job.run.children.exists()):
        return written
    return replace(written, files=artifacts.seal(job.run, written.files, job.objects))


def _seal_logs(job: Job) -> dict[str, Log]:
    logs = {"stdout": job.run.stdout, "stderr": job.run.stderr}
    return {name: Log(path.stat().st_size, sha256_of_file(path)) for name, path in logs.items()}
