"""`mlrun fetch`: the results of a run that stayed on the machine that carried it out."""

from __future__ import annotations

import click

from runner.cli.options import common, run_arguments
from runner.cli.session import Session
from runner.cli.when import amount


@click.command(short_help="Bring what runs left on other machines.")
@run_arguments
@common
@click.pass_obj
def fetch(session: Session, run_ids: tuple[str, ...]) -> None:
    """Bring the outputs and artifacts of runs here from the machines that carried them out, checked by digest.

    \b
    Example:
      mlrun run . --on lab --no-fetch && mlrun fetch latest
    """
    from runner.flow.away import fetch as bring
    from runner.flow.follow import record_of
    from runner.store.store import short

    store = session.store
    sizes = {}
    for run in [store.find(run_id) for run_id in run_ids]:
        sizes[run.id] = bring(run)
        record_of(run, store)
        session.say(f"{short(run.id)}: brought {amount(sizes[run.id])}")
    if session.json:
        session.emit(fetched=[{"id": identity, "bytes": size} for identity, size in sizes.items()])
