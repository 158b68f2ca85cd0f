"""Every value of a run's metrics, also of series that are too long for its record."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from runner.records.metrics import Measured, amount, logged
from runner.worker.files import Json
from runner.worker.objects import Objects
from runner.worker.rundir import RunDirectory


def points_of(run: RunDirectory, objects: Objects, record: Json, names: Collection[str]) -> dict[str, list[Measured]]:
    """Return the values of the named metrics, in the order in which they were logged."""
    del objects
    points: dict[str, list[Measured]] = {name: [] for name in names}
    for each in logged(run.metrics):
        if each.name in points:
            points[each.name].append(each)
    data: Any = record
    for series in data["metrics"]["series"]:
        if not points.get(series["name"], True):
            points[series["name"]] = _recorded(series)
    return points


def _recorded(series: Any) -> list[Measured]:
    return [Measured(series["name"], amount(item["value"]), item["step"], None) for item in series["points"]]
