"""`mlrun rm` and `mlrun gc`: runs removed when asked, and the objects that nobody needs any more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from runner.cli.options import common, run_arguments
from runner.cli.session import Session
from runner.cli.when import amount
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.store.store import Store
    from runner.worker.rundir import RunDirectory


@click.command(short_help="Remove runs.")
@run_arguments
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common
@click.pass_obj
def rm(session: Session, run_ids: tuple[str, ...], yes: bool) -> None:
    """Remove runs: their records, logs and outputs. Objects they alone used go with the next `mlrun gc`.

    \b
    Example:
      mlrun rm 1a2b3c4d
    """
    from runner.flow.away import discard
    from runner.store.store import short

    store = session.store
    runs = list({run.id: run for run in map(store.find, run_ids)}.values())
    for run in runs:
        _refuse_going_on(run, store)
    if not yes:
        _confirm(", ".join(short(run.id) for run in runs))
    for run in runs:
        left = discard(run)
        store.remove(run)
        if left:
            session.say(f"warning: what {short(run.id)} left elsewhere stays there: {left}")
    if session.json:
        session.emit(removed=[run.id for run in runs])
    session.say(f"removed {len(runs)} run{'s' * (len(runs) != 1)}")


def _refuse_going_on(run: RunDirectory, store: Store) -> None:
    from runner.flow.follow import refresh
    from runner.store.store import short

    state = refresh(store, [run]).get(run.id)  # none of a damaged one: nothing of it can run
    if state is not None and not state.ended:
        message = f"the run {short(run.id)} is {state.name}{f': {state.remark}' if state.remark else ''}"
        raise UsageError(message, hint=f"`mlrun cancel {short(run.id)}` ends it")


def _confirm(names: str) -> None:
    if not sys.stdin.isatty():
        message = f"nobody is here to be asked whether {names} may go"
        raise UsageError(message, hint="`mlrun rm -y` removes without asking")
    click.confirm(f"remove {names} for good?", abort=True, err=True)


@click.command(short_help="Free what no run needs any more.")
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@common
@click.pass_obj
def gc(session: Session, dry_run: bool) -> None:
    """Remove the objects that no run names: sources, outputs and locks of runs that were removed.

    \b
    Example:
      mlrun gc --dry-run
    """
    from runner.store.garbage import collect

    freed = collect(session.store, dry_run=dry_run)
    if session.json:
        session.emit(objects=freed.objects, bytes=freed.bytes, dry_run=dry_run)
    verb = "would free" if dry_run else "freed"
    session.say(f"{verb} {amount(freed.bytes)} in {freed.objects} object{'s' * (freed.objects != 1)}")
