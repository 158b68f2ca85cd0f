"""`mlrun metrics`: what a run measured, as a table, a plot on the terminal, JSON or CSV."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import common, run_argument
from runner.cli.session import Session, printable
from runner.cli.table import table
from runner.errors import MlrunError, UsageError
from runner.worker.state import ENDED

if TYPE_CHECKING:
    from runner.records.metrics import Measured

_MOST_DRAWN = 2000  # points: a terminal has fewer columns
_HEIGHT, _WIDTH = 16, 100


@click.command(short_help="Show, plot or export what a run measured.")
@run_argument
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--sub-run", metavar="ID", help="Of a run that the client made inside: its name, or a part of its id.")
@click.option("--csv", "as_csv", is_flag=True, help="Print every value as CSV: name, step, value, timestamp (ms).")
@common
@click.pass_obj
def metrics(session: Session, run_id: str, names: tuple[str, ...], sub_run: str | None, as_csv: bool) -> None:
    """List the metrics of a run, or with NAME (or a pattern, 'val_*') show the values: on a terminal as a plot.

    --csv and --json have every value, of the named metrics or of all.

    \b
    Examples:
      mlrun metrics latest
      mlrun metrics latest loss
      mlrun metrics 1a2b3c4d 'val_*' --csv > curves.csv
    """
    from runner.flow.follow import record_of
    from runner.records.points import points_of

    if as_csv and session.json:
        message = "--csv and --json are two forms of the same thing"
        raise UsageError(message, hint="give one of them")
    store = session.store
    run = store.find(run_id)
    record: Any = record_of(run, store, brief=True)
    child = None if sub_run is None else _child(record, sub_run)
    chosen = _chosen((record if child is None else child)["metrics"]["series"], names)
    if not (names or as_csv or session.json):
        _print_list(session, chosen, str(record["run"]["status"]))
        return
    points = points_of(run, store.objects, chosen, None if child is None else child["id"])
    if session.json:
        session.emit(run=run.id, metrics=[_plain(item, points[item["name"]]) for item in chosen])
    elif as_csv:
        _print_csv(points)
    else:
        for item in chosen:
            _print_values(item, points[item["name"]])


def _chosen(series: list[Any], names: Sequence[str]) -> list[Any]:
    """Return the series that are named, in the order of the names; MlrunError for a name that none has."""
    from fnmatch import fnmatchcase

    chosen: dict[str, Any] = {}
    for name in names:
        found = [item for item in series if item["name"] == name] or [
            item for item in series if fnmatchcase(item["name"], name)
        ]
        if not found:
            raise _unknown(name, [item["name"] for item in series])
        chosen.update((item["name"], item) for item in found)
    return list(chosen.values()) if names else series


def _unknown(name: str, known: list[str]) -> MlrunError:
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""  # noqa: PLR2004 - a line
    hint = f"did you mean {near[0]!r}? " if near else ""
    hint += f"it has {', '.join(known[:8])}{more}" if known else "it has none"
    return MlrunError(f"the run has no metric {name!r}", hint=hint)


def _child(record: Any, text: str) -> Any:
    """Return the sub-run that a name, or a part of an id, means; MlrunError where none or several do."""
    children = (record.get("tracking") or {}).get("children", [])
    found = [each for each in children if text in (each["name"], each["id"])]
    found = found or [each for each in children if text in each["id"]]
    if len(found) != 1:
        names = ", ".join(f"{each['id'][-8:]} ({each['name']})" for each in (found or children)[:5])
        many = f"{len(found)} sub-runs of the run answer" if found else "no sub-run of the run answers"
        message = f"{many} to {text!r}"
        raise MlrunError(message, hint=f"it has {names}" if names else "it has none")
    return found[0]


def _print_list(session: Session, series: list[Any], status: str) -> None:
    if not series:
        session.say("the run has no metrics" if status in ENDED else f"the run is {status}: it has no metrics yet")
        return
    rows = [
        [printable(item["name"]), str(item["count"]), *(_number(item[key]) for key in ("last", "minimum", "maximum"))]
        for item in series
    ]
    click.echo(table(("name", "values", "last", "minimum", "maximum"), rows))


def _plain(item: Any, points: list[Measured]) -> dict[str, Any]:
    from runner.records.metrics import number

    values = [{"step": point.step, "value": number(point.value), "timestamp": point.timestamp} for point in points]
    return {**{key: item[key] for key in ("name", "count", "last", "minimum", "maximum")}, "points": values}


def _print_csv(points: dict[str, list[Measured]]) -> None:
    from runner.records.metrics import number

    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(("name", "step", "value", "timestamp"))
    for each in points.values():
        rows.writerows((point.name, point.step, number(point.value), point.timestamp) for point in each)


def _print_values(item: Any, points: list[Measured]) -> None:
    finite = [point for point in points if math.isfinite(point.value)]
    if sys.stdout.isatty() and len(finite) > 1:
        click.echo(_drawn(item["name"], finite))
        others = len(points) - len(finite)
        note = f", {others} of them not finite" if others else ""
        numbers = ", ".join(f"{key} {_number(item[key])}" for key in ("last", "minimum", "maximum"))
        click.echo(f"{len(points)} values{note}: {numbers}\n")
        return
    rows = [
        [printable(point.name), "-" if point.step is None else str(point.step), _number(point.value)]
        for point in points
    ]
    click.echo(table(("name", "step", "value"), rows))


def _drawn(name: str, points: list[Measured]) -> str:
    """Return a plot over the steps, or over the order of the values where the steps do not tell them apart."""
    import shutil

    import plotext

    steps = [point.step for point in points]
    stepped = None not in steps and len(set(steps)) == len(steps)
    xs = [step for step in steps if step is not None] if stepped else list(range(len(points)))
    kept = _thinned([point.value for point in points])
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(min(_WIDTH, shutil.get_terminal_size().columns), _HEIGHT)
    plotext.plot([xs[index] for index in kept], [points[index].value for index in kept], marker="braille")
    plotext.title(printable(name))
    plotext.xlabel("step" if stepped else "value number")
    return str(plotext.uncolorize(plotext.build()))


def _thinned(values: list[float]) -> list[int]:
    """Return the places of the least and the greatest of each stretch: what a curve of all of them would show."""
    size = -(-len(values) // (_MOST_DRAWN // 2))
    if size <= 1:
        return list(range(len(values)))
    places: set[int] = set()
    for first in range(0, len(values), size):
        stretch = range(first, min(first + size, len(values)))
        places |= {min(stretch, key=values.__getitem__), max(stretch, key=values.__getitem__)}
    return sorted(places)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
