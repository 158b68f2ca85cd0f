"""The runs that a client made inside a run, told apart in two runs by the order in which they were made."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from runner.records.model import Record
from runner.records.results import Output
from runner.records.tracking import SubRun

_INSIDE = re.compile(r"children/([^/]+)/(.*)", re.DOTALL)
# What MLflow's log_image(key=...) writes into the name of a file: when it was, and a random id.
_CHANCE = re.compile(r"%timestamp%[0-9]+%[0-9a-z]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def sub_runs(record: Record) -> tuple[SubRun, ...]:
    """Return the sub-runs of a run, the first made first."""
    return () if record.tracking is None else record.tracking.children


def by_place(outputs: Sequence[Output], record: Record) -> dict[str, Output]:
    """Return outputs by paths that are the same in every run that does the same: without ids and times."""
    numbers = {child.id: number for number, child in enumerate(sub_runs(record), 1)}
    times: Counter[str] = Counter()
    found: dict[str, Output] = {}
    for output in outputs:
        place = _place(output, numbers)
        times[place] += 1
        found[place if times[place] == 1 else f"{place} ({times[place]})"] = output
    return found


def _place(output: Output, numbers: dict[str, int]) -> str:
    if output.basis != "logged":
        return output.path
    match = _INSIDE.fullmatch(output.path)
    number = numbers.get(match[1]) if match is not None else None
    path = output.path if match is None or number is None else f"children/{number}/{match[2]}"
    return _CHANCE.sub("", path)
