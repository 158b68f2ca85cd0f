"""`mlrun diff`: in what two runs differ, with the patch between their sources."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from runner.cli.options import common, complete_runs
from runner.cli.session import Session, printable
from runner.cli.when import duration

if TYPE_CHECKING:
    from runner.records.diff import Diff
    from runner.records.verdict import Difference

_NOTABLE = 0.1  # of the first run's duration: less is noise


@click.command(short_help="Show in what two runs differ.")
@click.argument("before", metavar="ID", shell_complete=complete_runs)
@click.argument("after", metavar="[ID]", default="latest", shell_complete=complete_runs)
@click.option("--patch/--no-patch", default=True, help="With the patch of the source.  [default: with it]")
@common
@click.pass_obj
def diff(session: Session, before: str, after: str, *, patch: bool) -> None:
    """Show in what two runs differ: code, parameters, inputs, packages, interpreter, outputs, metrics, machine.

    Uncommitted changes are part of the code. The exit code is 1 where they differ in anything but how long they took.

    \b
    Examples:
      mlrun diff 1a2b3c4d             this run, and the newest one
      mlrun diff baseline latest --no-patch
      mlrun diff 1a2b3c4d 5e6f7a8b --json | jq '.diff.differences[] | select(.what == "package")'
    """
    from runner.flow.follow import record_of
    from runner.records.diff import diff as compare

    store = session.store
    first, second = (record_of(store.find(name), store) for name in (before, after))
    colored = not session.json and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    found = compare(first, second, store.objects, color=colored)
    if session.json:
        session.emit(diff=found.to_json())
    else:
        for line in lines(found):
            click.echo(line)
        if patch and found.patch:
            click.echo(f"\n{found.patch}", nl=False)
        if not found.differences:
            session.say("the two runs do not differ")
    sys.exit(1 if found.differences else 0)


def lines(found: Diff) -> Iterator[str]:
    """Yield a paragraph for each kind of difference."""
    for what, group in itertools.groupby(found.differences, lambda each: each.what):
        yield click.style(what, bold=True)
        yield from (f"  {_line(each)}" for each in group)
    first, second = found.took
    if first is not None and second is not None and abs(second - first) > max(1.0, _NOTABLE * first):
        yield click.style("duration", bold=True)
        yield f"  {duration(first)} -> {duration(second)}"


def _line(each: Difference) -> str:
    note = click.style(f"  ({printable(each.note)})", dim=True) if each.note else ""
    if each.before is each.after is None:
        return f"{printable(each.name)}{note}"
    before, after = (printable(value or "-").rstrip().replace("\n", "\n    ") for value in (each.before, each.after))
    return f"{printable(each.name)}: {click.style(before, fg='red')} -> {click.style(after, fg='green')}{note}"
