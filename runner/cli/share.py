"""`mlrun export` and `mlrun import`: a run in another form, and a run of another store."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.options import common, run_argument
from runner.cli.session import Session, printable
from runner.cli.when import amount

FORMATS = ("bundle",)


@click.command(short_help="Write a run out: a bundle, or a standard of provenance.")
@run_argument
@click.option("--format", "form", type=click.Choice(FORMATS), default="bundle", show_default=True, help="The form.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to write it.")
@click.option("--logs", is_flag=True, help="With what the command printed, which may be private.")
@click.option("--observed", is_flag=True, help="With the files that were lying there and that nobody declared.")
@common
@click.pass_obj
def export(session: Session, run_id: str, form: str, output: Path | None, logs: bool, observed: bool) -> None:
    """Write a run out: a bundle, which `mlrun import` takes in and `mlrun rerun` runs again elsewhere.

    \b
    Examples:
      mlrun export latest
      mlrun export 1a2b3c4d -o for-ada.mlrun.tar.gz --logs
    """
    from runner.flow.share import export_bundle
    from runner.store.store import short

    del form
    store = session.store
    run = store.find(run_id)
    target = output or Path(f"{short(run.id)}.mlrun.tar.gz")
    gathered = export_bundle(run, store, target, logs=logs, observed=observed)
    for remark in gathered.remarks:
        session.say(f"note: {printable(remark)}")
    listing = gathered.listing
    if session.json:
        session.emit(
            run=run.id,
            file=str(target),
            files=len(listing.files),
            objects=len(listing.objects),
            without=list(listing.without),
            remarks=list(gathered.remarks),
        )
    size = amount(target.stat().st_size)
    session.say(f"wrote {target} ({size}): {len(listing.files)} files, {len(listing.objects)} objects")


@click.command("import", short_help="Take a run in from a bundle.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@common
@click.pass_obj
def import_bundle(session: Session, file: Path) -> None:
    """Take a run in from a bundle that `mlrun export` wrote; every byte is checked before anything is kept.

    \b
    Example:
      mlrun import for-ada.mlrun.tar.gz && mlrun rerun latest
    """
    from runner.flow.share import import_bundle as take
    from runner.store.store import short

    taken = take(file, session.store)
    if session.json:
        session.emit(run=taken.run.id, new=taken.new, without=list(taken.listing.without))
    name = short(taken.run.id)
    session.say(f"{'took in' if taken.new else 'it is here already:'} {name}; `mlrun rerun {name}` runs it again")
