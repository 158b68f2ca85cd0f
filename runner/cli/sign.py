"""`mlrun sign`: put your name under a record, with your SSH key."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.options import common, run_arguments
from runner.cli.session import Session


@click.command(short_help="Sign the records of runs with your SSH key.")
@run_arguments
@click.option(
    "--key", default="", metavar="FILE", help="The key; by default that of config.toml, git's, or ~/.ssh/id_*."
)
@common
@click.pass_obj
def sign(session: Session, run_ids: tuple[str, ...], key: str) -> None:
    """Sign the records of runs with your SSH key, in the namespace `mlrun-record`.

    `mlrun verify --allowed-signers FILE` says who signed. `always = true` under [sign] in config.toml signs every run.

    \b
    Example:
      mlrun sign latest
    """
    from runner.flow.sign import sign_run
    from runner.store import settings
    from runner.store.store import short

    store, configured = session.store, settings.read().sign
    made = []
    for run in store.find_each(run_ids):
        signature = sign_run(run, store, key or configured.key, Path.cwd())
        made.append({"run": run.id, "file": signature.file, "fingerprint": signature.fingerprint})
        session.say(f"signed {short(run.id)} with {signature.fingerprint}")
    if session.json:
        session.emit(signatures=made)
