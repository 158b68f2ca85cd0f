"""What Slurm says of this user's jobs: one question for all of them, and asked again only as often as is polite."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Optional

from runner.worker.facts import Launching
from runner.worker.slurm.commands import PATIENCE, SilentError, answer
from runner.worker.values import dataclass

_FORMAT = "%A|%T|%r|%N|%P|%j"  # the name last: it is another job's, and may be anything
_FIELDS = 6
_SOONEST, _LATEST = 1.0, 10.0  # seconds between two questions
_LOOKING = 7.0  # seconds for an answer where somebody only looks: `mlrun list` waits for it
_SLOWER = 20.0  # times the wait: how long it takes until questions come that seldom

PENDING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
ENDED = frozenset(
    {
        *("COMPLETED", "FAILED", "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "CANCELLED"),
        *("PREEMPTED", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL"),
    }
)


@dataclass(frozen=True)
class Job:
    """A job as the queue shows it; Slurm forgets one some minutes after its end."""

    id: str
    state: str
    reason: str  # why it waits, or failed
    nodes: str
    partition: str
    name: str

    @property
    def is_pending(self) -> bool:
        """Whether it has no node yet."""
        return self.state in PENDING

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is left on its node."""
        return self.state in ENDED


@dataclass(frozen=True)
class _Answer:
    jobs: Mapping[str, Job]
    silence: Optional[SilentError]
    at: float  # by the monotonic clock
    since: float  # when this was answered first


_Place = tuple[str, str, str]
_answers: dict[_Place, _Answer] = {}


def find(job: str, name: str, access: Launching, *, anew: bool = False) -> Optional[Job]:
    """Return a job by its id and name; None where Slurm knows none of both. SilentError where it does not answer.

    ``anew``: whatever was answered before.
    """
    found = None if anew else _known(access, _age(access), _LOOKING).get(job)
    if found is None:  # it may be younger than what was answered last
        found = _known(access, 0.0, PATIENCE if anew else _LOOKING).get(job)
    return found if found is not None and found.name == name else None


def find_by_name(name: str, access: Launching) -> Optional[Job]:
    """Return the newest job of a name; None where there is none. SilentError where Slurm does not answer."""
    named = [job for job in _known(access, 0.0).values() if job.name == name]
    return max(named, key=lambda job: int(job.id)) if named else None


def cluster_name(access: Optional[Launching] = None) -> str:
    """Return the name of the cluster that is asked from here; "" where it has none. SilentError: no answer."""
    for line in answer("scontrol", "show", "config", access=access).splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "ClusterName":
            return value.strip()
    return ""


def _known(access: Launching, age: float, patience: float = PATIENCE) -> Mapping[str, Job]:
    """Return the jobs by their ids, as they were answered within the last ``age`` seconds, or are now."""
    place = _place(access)
    last = _answers.get(place)
    if last is None or time.monotonic() - last.at >= age:
        last = _answers[place] = _ask(access, last, patience)
    if last.silence is not None:
        raise last.silence
    return last.jobs


def _ask(access: Launching, last: Optional[_Answer], patience: float) -> _Answer:
    jobs: Mapping[str, Job] = {}
    silence = None
    try:
        text = answer(
            "squeue", "-h", "-t", "all", "-u", str(os.getuid()), "-o", _FORMAT, access=access, patience=patience
        )
        jobs = {job.id: job for job in map(_parse, text.splitlines()) if job is not None}
    except SilentError as error:
        silence = error
    now = time.monotonic()
    same = last is not None and last.jobs == jobs and (last.silence is None) == (silence is None)
    return _Answer(jobs, silence, now, last.since if last is not None and same else now)


def _parse(line: str) -> Optional[Job]:
    fields = line.split("|", _FIELDS - 1)
    return Job(*fields) if len(fields) == _FIELDS and fields[0].isdigit() else None


def _place(access: Launching) -> _Place:
    return (access.programs, access.configuration, access.route)


def _age(access: Launching) -> float:
    """Return how old an answer may be: where nothing changes for long, Slurm is asked seldom."""
    last = _answers.get(_place(access))
    quiet = 0.0 if last is None else time.monotonic() - last.since
    return min(max(_SOONEST, quiet / _SLOWER), _LATEST)
