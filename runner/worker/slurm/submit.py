"""Hands a prepared run to Slurm as one job, and notes which; a launch is never doubled."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from dataclasses import replace
from typing import Optional

from runner.errors import BackendError
from runner.worker.clock import now
from runner.worker.facts import Launched, Launching, Placement, Start
from runner.worker.rundir import RunDirectory
from runner.worker.slurm import options, queue
from runner.worker.slurm.commands import SilentError, answer, complaint, slurm
from runner.worker.spec import RunSpec

_CURES = (
    ("partition", '`sinfo -s` lists the partitions; set it with -c \'{"partition": "NAME"}\' or for the host'),
    ("account", "`sacctmgr show associations user=$USER` lists the accounts; set `account`"),
    ("qos", "set another `qos`, or leave it out"),
    ("gres", "the partition has no such accelerators: correct `gpus` under `resources`, or the partition"),
    ("time", "lower `time` under `resources`, or choose a partition that grants it"),
    ("memory", "lower `memory` under `resources`, or choose a partition with larger nodes"),
    ("option", "correct the launcher's options: they are the long names of sbatch's"),
    ("contact", "`scontrol ping` says whether the controller is up; run it again when it is"),
    ("configuration source", "Slurm is not set up here; run mlrun on the cluster's login node"),
    ("not available", "no node has what `resources` ask for: `sinfo -N -l` shows what there is"),
)


def submit(run: RunDirectory, spec: RunSpec, placement: Placement) -> Launched:
    """Submit a run's job and write launch.json; BackendError says in one line why Slurm does not take it."""
    chosen = placement.launcher_options
    access = _access(chosen.get("clusters") or os.environ.get("SBATCH_CLUSTERS", ""))
    run.write(access)  # before the job is: whoever finds no launch.json knows whether, and where, to ask for it
    most = None if spec.resources.time is None else _most(chosen.get("partition", ""), access)
    words = options.words(spec.resources, {key: value for key, value in chosen.items() if key != "clusters"}, most)
    try:
        done = slurm("sbatch", *_own_words(run), *words, access=access, stdin=script(run), without=spec.secrets)
    except SilentError as error:
        return _found(run, access, error)
    if done.code:
        reason = complaint(done)
        return _found(run, access, BackendError(f"Slurm does not take the job: {reason}", hint=_cure(reason)))
    job = done.text.rpartition("\n")[0].rpartition("\n")[2].partition(";")[0]
    if not job.isdigit():  # a site's own sbatch may say anything
        return _found(run, access, BackendError(f"sbatch names no job: {done.text.strip()!r}", hint=_cure("option")))
    return note(run, job, access.cluster, chosen.get("partition", ""))


def script(run: RunDirectory) -> bytes:
    """Return a job's script: it names the worker and the run directory, and nothing of the user's.

    The word that the time is nearly up must not end a worker that has only begun to begin.
    """
    worker = [sys.executable, "-X", "utf8", "-S", "-E", os.path.abspath(sys.argv[0]), "execute", str(run.path)]
    return os.fsencode(f"#!/bin/sh\ntrap '' USR1\nexec {' '.join(shlex.quote(word) for word in worker)}\n")


def note(run: RunDirectory, job: str, cluster: str, partition: str) -> Launched:
    """Write launch.json, and return what it holds: the job itself may have been the first to write it."""
    launched = Launched("slurm", job, now(), cluster, partition)
    return launched if run.write(launched) else run.read(Launched)


def access_of(run: RunDirectory) -> Optional[Launching]:
    """Return how Slurm is asked for a run; None where the run was not about to be launched.

    The directory may be one that came from somebody else: nothing that lies in the store is run, or believed.
    """
    access = run.find(Launching)
    if access is None:
        return None
    store = os.path.realpath(run.path.parents[1])
    inside = [
        os.path.realpath(path).startswith(store + os.sep) for path in (access.programs, access.configuration) if path
    ]
    return replace(access, programs="", configuration="") if any(inside) else access


def job_of(run: RunDirectory, access: Launching) -> Optional[Launched]:
    """Return the job of a run that was about to be launched, also where that was cut off before it was noted.

    None where there is none. SilentError where Slurm does not answer.
    """
    launched = run.find(Launched)
    if launched is not None:
        return launched
    job = queue.find_by_name(run.id, access)
    return None if job is None else note(run, job.id, access.cluster, job.partition)


def _access(route: str) -> Launching:
    """Return how Slurm is asked, as it is found from here; BackendError where it is not."""
    program = shutil.which("sbatch")
    if program is None:
        message = "there is no Slurm here: sbatch is not on PATH"
        raise BackendError(message, hint="run mlrun on the cluster's login node, or load it in the host's `setup`")
    cluster = route or queue.cluster_name()
    programs, configuration = os.path.dirname(program), os.environ.get("SLURM_CONF", "")
    return Launching("slurm", now(), cluster, programs=programs, configuration=configuration, route=route)


def _found(run: RunDirectory, access: Launching, error: BackendError) -> Launched:
    """Return the job after all: an answer can be lost when the question was not. Else raise."""
    try:
        job = queue.find_by_name(run.id, access)
    except SilentError:
        job = None  # one that comes to light later finds the run ended, and goes
    if job is None or (job.has_ended and not run.has(Start)):  # Slurm enters some that it refuses, as failed
        raise error
    return note(run, job.id, access.cluster, job.partition)


def _own_words(run: RunDirectory) -> list[str]:
    log = str(run.launcher_log).replace("%", "%%")  # Slurm puts numbers and names in place of %j and the like
    return [
        "--parsable",
        "--no-requeue",
        "--export=ALL",
        f"--job-name={run.id}",
        f"--chdir={run.path}",
        f"--output={log}",
        "--open-mode=append",
        f"--signal=B:USR1@{options.WARNING}",
    ]


def _most(partition: str, access: Launching) -> Optional[float]:
    """Return how many seconds a partition grants a job; None where it sets no limit, or none is known."""
    try:
        lines = answer("scontrol", "show", "partition", "-o", *filter(None, [partition]), access=access).splitlines()
    except SilentError:
        return None
    line = next((each for each in lines if partition or " Default=YES " in each), "")
    limit = re.search(r" MaxTime=(?:(\d+)-)?(\d+):(\d\d):(\d\d) ", line)
    if limit is None:
        return None
    days, hours, minutes, seconds = (int(each or 0) for each in limit.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds


def _cure(reason: str) -> str:
    said = reason.lower()
    return next((cure for word, cure in _CURES if word in said), "correct `resources:` or the launcher's options")
