"""`mlrun export` and `mlrun import`: a run in another form, and a run of another store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import common, run_argument
from runner.cli.session import Session, printable
from runner.cli.when import amount
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.store.store import Store
    from runner.worker.rundir import RunDirectory

_FILES = ("bundle", "ro-crate")  # forms that hold the run's files
FORMATS = (*_FILES, "prov", "slsa", "openlineage")
_APPLY = {"logs": _FILES, "observed": _FILES, "wheels": ("bundle",), "license": ("ro-crate",)}
_KEYS = {"license": "license_"}


@click.command(short_help="Write a run out: a bundle, or a standard of provenance.")
@run_argument
@click.option("--format", "form", type=click.Choice(FORMATS), default="bundle", show_default=True, help="The form.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="Where to write it.")
@click.option("--logs", is_flag=True, help="With what the command printed, which may be private.")
@click.option("--observed", is_flag=True, help="With the files that were lying there and that nobody declared.")
@click.option("--wheels", is_flag=True, help="For a bundle: with the packages, for a machine that reaches no index.")
@click.option("--license", "license_", metavar="NAME", help="For a crate: its terms, as SPDX names them, or a URL.")
@common
@click.pass_obj
def export(session: Session, /, run_id: str, form: str, output: Path | None, **options: Any) -> None:
    """Write a run out: a bundle, which `mlrun import` takes in and `mlrun rerun` runs again elsewhere; or a standard.

    \b
    ro-crate      Process Run Crate 0.5, a directory or a .zip
    prov          PROV-JSON
    slsa          in-toto statement with SLSA provenance v1
    openlineage   run events, a line each

    \b
    Examples:
      mlrun export latest
      mlrun export 1a2b3c4d -o for-ada.mlrun.tar.gz --logs
      mlrun export latest --format prov | jq .activity
    """
    _refuse_what_does_not_apply(form, output, options)
    store = session.store
    run = store.find(run_id)
    extras = {name: options[name] for name in ("logs", "observed")}
    if form == "bundle":
        _bundle(session, store, run, output, **extras, wheels=options["wheels"])
    elif form == "ro-crate":
        _crate(session, store, run, output, options["license_"], **extras)
    else:
        _document(session, store, run, form, output)


def _refuse_what_does_not_apply(form: str, output: Path | None, options: Mapping[str, Any]) -> None:
    """Raise UsageError for words that this form would pass over."""
    idle = [f"--{name}" for name, forms in _APPLY.items() if options[_KEYS.get(name, name)] and form not in forms]
    if idle:
        message = f"{' and '.join(idle)} mean{'s' * (len(idle) == 1)} nothing to {form}"
        raise UsageError(message, hint=f"{idle[0]} is for {' and '.join(_APPLY[idle[0][2:]])}")
    if output is not None and output.name == "-":
        message = "-o names a file, or a directory"
        text = "without -o it goes to standard output" if form not in _FILES else "name one, or leave -o out"
        raise UsageError(message, hint=text)
    if form == "bundle" and output is not None and output.suffix == ".zip":
        message = "a bundle is a tar, and no zip"
        raise UsageError(message, hint="name it .mlrun.tar.gz, or .tar.zst for zstandard")


def _bundle(session: Session, store: Store, run: RunDirectory, output: Path | None, **extras: bool) -> None:
    from runner.flow.share import export_bundle
    from runner.store.store import short

    target = output or Path(f"{short(run.id)}.mlrun.tar.gz")
    gathered = export_bundle(run, store, target, **extras)
    listing = gathered.listing
    counts = {"files": len(listing.files), "objects": len(listing.objects)}
    _remark(session, gathered.remarks)
    if session.json:
        without, remarks = list(listing.without), list(gathered.remarks)
        session.emit(run=run.id, file=str(target), **counts, without=without, remarks=remarks)
    size = amount(target.stat().st_size)
    session.say(f"wrote {target} ({size}): {counts['files']} files, {counts['objects']} objects")


def _crate(
    session: Session,
    store: Store,
    run: RunDirectory,
    output: Path | None,
    terms: str | None,
    *,
    logs: bool,
    observed: bool,
) -> None:
    from runner.flow.exports import export_crate
    from runner.store import settings
    from runner.store.store import short

    identity = settings.read().identity
    identity = identity if terms is None else replace(identity, license=terms)
    target = output or Path(f"{short(run.id)}-ro-crate")
    remarks = export_crate(run, store, target, identity, logs=logs, observed=observed)
    _remark(session, remarks)
    if session.json:
        session.emit(run=run.id, file=str(target), remarks=list(remarks))
    session.say(f"wrote {target}")


def _document(session: Session, store: Store, run: RunDirectory, form: str, output: Path | None) -> None:
    from runner.flow.exports import document

    data = document(run, store, form)
    if output is None:
        click.echo(data, nl=False)
        return
    from runner.worker.files import write_once

    if not write_once(output, data, 0o644):
        message = f"{output} is there already"
        raise UsageError(message, hint="name another file with -o, or move that one away")
    if session.json:
        session.emit(run=run.id, file=str(output))
    session.say(f"wrote {output}")


def _remark(session: Session, remarks: tuple[str, ...]) -> None:
    for remark in remarks:
        session.say(f"note: {printable(remark)}")


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
