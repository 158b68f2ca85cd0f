"""Commands timed side by side: in turn, round after round, so that a machine whose speed drifts is fair to all."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A command, where and with what it is run, and what is made ready before each time, which does not count."""

    name: str
    argv: Sequence[str]
    cwd: Path | None = None
    env: Mapping[str, str] | None = None
    before: Callable[[], object] = bool


def in_turn(cases: Sequence[Case], rounds: int = 7) -> dict[str, list[float]]:
    """Return the wall times in s of each case, after one round that is not counted; a failing command raises.

    Each round begins with another case, so that a disk that gets slower is fair to all, too.
    """
    times: dict[str, list[float]] = {case.name: [] for case in cases}
    for round_ in range(rounds + 1):
        first = round_ % len(cases)
        for case in (*cases[first:], *cases[:first]):
            seconds = once(case)
            if round_:
                times[case.name].append(seconds)
    return times


def once(case: Case) -> float:
    """Return the wall time of one run in s."""
    env = {k: v for k, v in (case.env or os.environ).items() if k != "PYTHONDONTWRITEBYTECODE"}
    case.before()
    os.sync()  # nobody waits for what another one has written
    start = time.perf_counter()
    done = subprocess.run(case.argv, cwd=case.cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        message = f"{case.name} failed ({done.returncode}): {done.stderr.decode(errors='replace')[-2000:]}"
        raise RuntimeError(message)
    return seconds


def report(times: Mapping[str, Sequence[float]], base: str) -> str:
    """Return a table: median, minimum and maximum in ms, and the ratio of medians to ``base``."""
    unit = statistics.median(times[base])
    lines = [f"{'':28}{'median ms':>10}{'min':>9}{'max':>9}{'x ' + base:>22}"]
    for name, values in times.items():
        median = statistics.median(values)
        numbers = "".join(f"{value * 1000:9.1f}" for value in (min(values), max(values)))
        lines.append(f"{name:28}{median * 1000:10.1f}{numbers}{median / unit:22.2f}")
    return "\n".join(lines)
