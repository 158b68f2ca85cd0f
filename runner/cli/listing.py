"""`mlrun list`: the runs so far, filtered, sorted, as a table, JSON or CSV."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import assignment, common, tag_assignment
from runner.cli.session import Session
from runner.cli.sub_runs import list_rows
from runner.cli.table import table
from runner.cli.when import ago, duration, moment
from runner.errors import UsageError
from runner.store.summary import STATUSES

if TYPE_CHECKING:
    from runner.store.index import Filter, Summary
    from runner.worker.state import State

_COLORS = {"succeeded": "green", "failed": "red", "killed": "yellow", "lost": "red", "running": "cyan"}
_DEFAULT = ("id", "status", "project", "entry_point", "started", "duration", "name", "params")
_PLAIN = (
    "id",
    "name",
    "project",
    "entry_point",
    "status",
    "reason",
    "exit_code",
    "created",
    "started",
    "ended",
    "duration",
    "host",
    "params",
    "tags",
    "metrics",
    "why",
    "rerun_of",
    "parent",
    "spec_digest",
    "sub_run_count",
    "sub_runs",
)
_GROUPS = ("params", "metrics", "tags")
_GOING = ("running", "orphaned")  # their duration is the time so far
_MOST_NOTES = 10


@click.command("list", short_help="List runs, the newest first.")
@click.option("--project", help="Only runs of this project.")
@click.option("-e", "--entry-point", help="Only runs of this entry point.")
@click.option("--status", type=click.Choice(STATUSES), metavar="STATUS", help="Only runs that are running, failed, ...")
@click.option(
    "-P",
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    callback=assignment,
    help="Only runs with this parameter.",
)
@click.option(
    "--tag", "tags", multiple=True, metavar="NAME=VALUE", callback=tag_assignment, help="Only runs so labelled."
)
@click.option("--since", metavar="TIME", help="Only runs made since: 2026-11-23, 12h, 3d.")
@click.option("--until", metavar="TIME", help="Only runs made before.")
@click.option(
    "--where",
    metavar="CONDITION",
    help="""Only runs for which it is true: 'metrics.rmse < 0.8 and params.alpha = "0.5"'.""",
)
@click.option(
    "--sort",
    metavar="KEY",
    default="created",
    show_default=True,
    help="The order: created, started, duration, name, project, ..., or params.NAME, metrics.NAME, tags.NAME.",
)
@click.option("--reverse", is_flag=True, help="The other way round: the oldest or shortest come first.")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="So many at most (20 on a terminal).")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option(
    "--columns", metavar="NAMES", help="Columns, by commas; also params.NAME or params.*, and so for metrics and tags."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV to stdout.")
@common
@click.pass_obj
def list_runs(session: Session, /, **options: Any) -> None:
    """List runs, the newest first.

    \b
    Examples:
      mlrun list --status failed --since 3d
      mlrun list -P alpha=0.5 --columns id,metrics.*,params --sort duration
      mlrun list --where 'metrics.rmse < 0.8 and params.alpha = "0.5"' --sort metrics.rmse --reverse
      mlrun list --all --csv > runs.csv
    """
    from runner.flow.follow import refresh

    columns = _columns(options["columns"], options["as_csv"])
    wanted = _filter(options)
    store = session.store
    states = refresh(store)
    limit = options["limit"] or (None if options["everything"] or session.json or options["as_csv"] else 20)
    summaries = store.index.query(wanted, sort=options["sort"], limit=limit, reverse=options["reverse"])
    rows = [_as_now(summary, states.get(summary.id)) for summary in summaries]
    columns = _spread(columns, summaries)
    if session.json:
        session.emit(runs=[_plain(summary, status) for summary, status in rows])
    elif options["as_csv"]:
        _print_csv(columns, rows)
    elif rows:
        cells = []
        for summary, status in rows:
            cells.append([_cell(summary, status, column) for column in columns])
            cells += list_rows(summary.sub_runs, summary.sub_run_count, columns)
        click.echo(table(columns, cells, _paint))
        notes = [(summary.id, states[summary.id].remark) for summary in summaries if summary.id in states]
        _say_notes(session, [(identity, remark) for identity, remark in notes if remark])
        if limit == len(rows) and not options["limit"]:
            session.say(f"the newest {limit}; --all shows every run")
    else:
        session.say("no runs fit" if _is_filtered(options) else "no runs yet; `mlrun run DIR` makes the first")


def _as_now(summary: Summary, state: State | None) -> tuple[Summary, str]:
    """Return a run and its status; of one that goes on, also when it was started: the index does not know."""
    if state is None:
        return summary, summary.status
    if state.started is None or summary.started is not None:
        return summary, state.name
    from dataclasses import replace

    return replace(summary, started=state.started), state.name


def _say_notes(session: Session, notes: list[tuple[str, str]]) -> None:
    """Say what is remarkable of runs that go on; of hundreds in a queue, not of each."""
    from runner.store.store import short

    for identity, remark in notes[:_MOST_NOTES]:
        session.say(f"note: {short(identity)}: {remark}")
    if len(notes) > _MOST_NOTES:
        session.say(f"and {len(notes) - _MOST_NOTES} notes more; `mlrun show ID` says each")


def _columns(text: str | None, as_csv: bool) -> tuple[str, ...]:
    if text is None:
        return _PLAIN if as_csv else _DEFAULT
    columns = tuple(name.strip() for name in text.split(","))
    unknown = [c for c in columns if c not in _PLAIN and c.partition(".")[0] not in _GROUPS]
    if unknown:
        message = f"there is no column {unknown[0]!r}"
        raise UsageError(message, hint=f"known are {', '.join(_PLAIN)}, and params.NAME, metrics.NAME, tags.NAME")
    return columns


def _spread(columns: tuple[str, ...], summaries: list[Summary]) -> tuple[str, ...]:
    """Put a column for each name that the runs have in place of `metrics.*`."""
    spread: list[str] = []
    for column in columns:
        group, _, name = column.partition(".")
        names = sorted({name for each in summaries for name in getattr(each, group)}) if name == "*" else []
        spread += [f"{group}.{name}" for name in names] if name == "*" else [column]
    return tuple(dict.fromkeys(spread)) or ("id",)


def _filter(options: dict[str, Any]) -> Filter:
    from runner.store.index import Filter

    where = None
    if options["where"] is not None:
        from runner.store import expression
        from runner.store.where import conditions

        where = expression.parse(options["where"])
        conditions(where)  # what cannot be compared is said before any run is looked at
    return Filter(
        project=options["project"],
        entry_point=options["entry_point"],
        status=options["status"],
        params=dict(options["params"]),
        tags=dict(options["tags"]),
        since=moment(options["since"]) if options["since"] else None,
        until=moment(options["until"]) if options["until"] else None,
        where=where,
    )


def _is_filtered(options: dict[str, Any]) -> bool:
    names = ("project", "entry_point", "status", "params", "tags", "since", "until", "where")
    return any(options[name] for name in names)


def _plain(summary: Summary, status: str) -> dict[str, Any]:
    values = {name: getattr(summary, name) for name in _PLAIN}
    return {name: dict(value) if hasattr(value, "items") else value for name, value in values.items()} | {
        "status": status
    }


def _cell(summary: Summary, status: str, column: str) -> str:
    from runner.store.store import short
    from runner.worker.clock import now, seconds

    group, _, name = column.partition(".")
    value = _plain(summary, status)[group]
    if name:
        value = value.get(name)
    if column == "duration" and value is None and status in _GOING and summary.started is not None:
        value = max(0.0, seconds(now()) - seconds(summary.started))
    if value is None or value == "":
        return "-"
    if column in ("id", "rerun_of", "parent"):
        return short(str(value))
    if column == "duration":
        return duration(float(value))
    if column in ("created", "started", "ended"):
        return ago(str(value))
    if isinstance(value, dict):
        return " ".join(f"{key}={_number(item)}" for key, item in value.items()) or "-"
    return _number(value)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _paint(column: str, text: str) -> str:
    return click.style(text, fg=_COLORS.get(text.strip())) if column == "status" else text


def _print_csv(columns: tuple[str, ...], rows: list[tuple[Summary, str]]) -> None:
    import json

    table = csv.writer(sys.stdout, lineterminator="\n")  # not \r\n: lines go to other programs
    table.writerow(columns)
    for summary, status in rows:
        values = _plain(summary, status)
        cells = []
        for column in columns:
            group, _, name = column.partition(".")
            value = values[group].get(name) if name else values[group]
            cells.append(json.dumps(value) if isinstance(value, dict | list | tuple) else value)
        table.writerow(cells)
