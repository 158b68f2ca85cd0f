"""Every value of a run's metrics, also of series that are too long for its record."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from runner.records.metrics import Measured, amount, logged, number
from runner.records.model import Record
from runner.records.results import Point
from runner.records.scores import Values, read_scores
from runner.worker.codec import encode
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


def with_values(
    before: tuple[Record, RunDirectory], after: tuple[Record, RunDirectory], objects: Objects
) -> tuple[Record, Record]:
    """Return two records with the values that they leave out for their number, of metrics that are not the same."""
    old, new = ({series.name: series for series in record.metrics.series} for record, _ in (before, after))
    names = {
        name
        for name in old.keys() & new.keys()
        if old[name].digest != new[name].digest and not (old[name].points and new[name].points)
    }
    return _filled(*before, names, objects), _filled(*after, names, objects)


def _filled(record: Record, run: RunDirectory, names: Collection[str], objects: Objects) -> Record:
    if not names:
        return record
    wanted = [encode(series) for series in record.metrics.series if series.name in names]
    found = points_of(run, objects, wanted)
    series = (
        replace(each, points=tuple(Point(number(point.value), point.step) for point in found[each.name]))
        if each.name in names and len(found[each.name]) == each.count
        else each
        for each in record.metrics.series
    )
    return replace(record, metrics=replace(record.metrics, series=tuple(series)))


def _is_cut(series: Any) -> bool:
    return bool(series.get("file")) and not series["points"]


def _scores(run: RunDirectory, objects: Objects) -> dict[str, Values]:
    files = run.read_files(run.outputs)
    return read_scores(() if files is None else files.files, run.read(RunSpec).metrics, objects)[0]


def _recorded(series: Any) -> list[Measured]:
    return [Measured(series["name"], amount(item["value"]), item["step"], None) for item in series["points"]]
