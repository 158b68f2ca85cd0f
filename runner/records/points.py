"""Every value of a run's metrics, also of series that are too long for its record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runner.records.metrics import Measured, amount, logged
from runner.records.scores import Values, read_scores
from runner.worker.objects import Objects
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec


def points_of(
    run: RunDirectory, objects: Objects, series: Iterable[Any], child: str | None = None
) -> dict[str, list[Measured]]:
    """Return the values of series of the run's record, or of a sub-run's, in the order in which they were logged."""
    chosen = list(series)
    points: dict[str, list[Measured]] = {item["name"]: [] for item in chosen}
    wanted = {item["name"] for item in chosen if not item.get("file")}
    for each in logged(run.metrics if child is None else run.children / child / run.metrics.name) if wanted else ():
        if each.name in wanted:
            points[each.name].append(each)
    read = _scores(run, objects) if any(_is_cut(item) for item in chosen) else {}
    for item in chosen:
        name = item["name"]
        if not points[name]:  # read from a file, or the run directory has no metrics.jsonl any more
            points[name] = _recorded(item) or [Measured(name, *each, None) for each in read[item["file"]][name]]
    return points


def _is_cut(series: Any) -> bool:
    return bool(series.get("file")) and not series["points"]


def _scores(run: RunDirectory, objects: Objects) -> dict[str, Values]:
    files = run.read_files(run.outputs)
    return read_scores(() if files is None else files.files, run.read(RunSpec).metrics, objects)[0]


def _recorded(series: Any) -> list[Measured]:
    return [Measured(series["name"], amount(item["value"]), item["step"], None) for item in series["points"]]
