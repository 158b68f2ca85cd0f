"""What a job asks Slurm for: the entry point's resources and the user's options, as words for `sbatch`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Optional

from runner.worker.spec import Resources

WARNING = 60  # seconds before its limit that a job is told; Slurm may say it a minute earlier
_SLACK = 180  # seconds for a job to look at inputs and outputs, and to be told, beyond its command's own time
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_OURS: Mapping[str, str] = {
    "array": "a run is one job; start several runs",
    "chdir": "the job begins in its run directory; the command in its project",
    "error": "the command's output is in the run's logs",
    "export": "variables for the command stand under `environ:` of the project",
    "help": "",
    "input": "a job has no standard input",
    "job-name": "a job is found by it: it is the run's id",
    "no-requeue": "it is set always",
    "open-mode": "the job's own output goes to the run directory",
    "output": "the command's output is in the run's logs",
    "parsable": "mlrun reads what sbatch says",
    "quiet": "mlrun reads what sbatch says",
    "requeue": "a job that began twice would be two runs under one id",
    "signal": "mlrun has itself told before the time is up",
    "test-only": "use `mlrun run --dry-run`",
    "uid": "",
    "usage": "",
    "version": "",
    "wait": "`mlrun wait` does that",
    "wrap": "the command stands in the project",
}


def problem(options: Mapping[str, str]) -> Optional[tuple[str, str]]:
    """Return what is wrong with options for sbatch, and what to do; None where nothing is."""
    for name, value in options.items():
        if not _NAME.fullmatch(name):
            return f"{name!r} is no option of Slurm", "give the long names of sbatch's options, as in partition=gpu"
        if name in _OURS:
            return f"the option {name!r} of Slurm cannot be set", _OURS[name] or "leave it out"
        if not value.isprintable():
            return f"the option {name!r} of Slurm has a value that cannot be printed", "correct it"
    return None


def words(resources: Resources, options: Mapping[str, str], most: Optional[float]) -> list[str]:
    """Return the words for sbatch; the user's come last, so that they win. ``most``: seconds the partition grants."""
    asked = ["--nodes=1", "--ntasks=1"]
    if resources.cpus is not None:
        asked.append(f"--cpus-per-task={resources.cpus}")
    if resources.memory is not None:
        asked.append(f"--mem={max(1, math.ceil(resources.memory / (1 << 20)))}M")
    if resources.gpus:
        asked.append(f"--gres=gpu:{resources.gpus}")
    if resources.time is not None and "time" not in options:
        asked.append(f"--time={minutes(resources.time, most)}")
    asked += [f"--{name}={value}" if value else f"--{name}" for name, value in sorted(options.items())]
    return asked


def minutes(time: float, most: Optional[float]) -> int:
    """Return a job's limit in minutes: the command's own and some more, where the partition grants that much."""
    wished = math.ceil((time + _SLACK) / 60)
    if most is None:
        return wished
    return max(math.ceil(time / 60), min(wished, math.floor(most / 60)))
