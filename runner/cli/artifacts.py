"""`mlrun artifacts`: the outputs of a run, listed or brought out of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runner.cli.options import common, run_argument
from runner.cli.session import Session, printable
from runner.cli.table import table
from runner.cli.when import amount


@click.command(short_help="List the outputs of a run, or write them out.")
@run_argument
@click.argument("path", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write them under this directory.")
@common
@click.pass_obj
def artifacts(session: Session, run_id: str, path: str | None, output: Path | None) -> None:
    """List the outputs of a run, or with -o write them out; PATH names one file or directory of them.

    \b
    Examples:
      mlrun artifacts latest
      mlrun artifacts 1a2b3c4d model/ -o ./from-march
    """
    from runner.flow.outputs import bring_out, going_on, outputs_of

    store = session.store
    run = store.find(run_id)
    state = going_on(run, store)
    outputs = outputs_of(run, path, state=state)
    if state and outputs:
        session.say(f"note: the run is {state}: this is what it has logged so far")
    if output is None or (state and not outputs):
        _print(session, outputs, state)
        return
    written = bring_out(outputs, store, run, output)
    if session.json:
        session.emit(written=[str(item) for item in written])
    session.say(f"wrote {len(written)} file{'s' * (len(written) != 1)} under {output}")


def _print(session: Session, outputs: Any, state: str) -> None:
    if session.json:
        keys = ("path", "size", "sha256", "stored", "basis")
        session.emit(artifacts=[{key: getattr(item, key) for key in keys} for item in outputs])
    elif outputs:
        rows = [
            [amount(item.size), (item.sha256 or "-")[:12], "yes" if item.stored else "no", printable(item.path)]
            for item in outputs
        ]
        click.echo(table(("size", "sha256", "stored", "path"), rows))
    else:
        session.say(f"the run is {state}: no outputs of it are known yet" if state else "the run has no outputs")
