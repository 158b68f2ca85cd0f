"""`mlrun push` and `mlrun pull`: runs shared through a depot."""

from __future__ import annotations

import click

from runner.cli.options import common, complete_runs
from runner.cli.session import Session, printable
from runner.cli.when import amount
from runner.errors import UsageError


@click.command(short_help="Share runs: bring them to a depot.")
@click.argument("remote", metavar="REMOTE")
@click.argument("run_ids", metavar="[ID]...", nargs=-1, shell_complete=complete_runs)
@click.option("--all", "everything", is_flag=True, help="Every run that has ended.")
@click.option("--logs", is_flag=True, help="With what the commands printed, which may be private.")
@click.option("--observed", is_flag=True, help="With the files that were lying there and that nobody declared.")
@common
@click.pass_obj
def push(session: Session, remote: str, run_ids: tuple[str, ...], everything: bool, logs: bool, observed: bool) -> None:
    """Bring runs to a depot that you share with others: what it lacks is sent, and nothing in it is ever changed.

    REMOTE is a directory, HOST:PATH or ssh://HOST/PATH (HOST as `mlrun host` or ssh knows it), or a URL of fsspec.

    \b
    Examples:
      mlrun push /mnt/team/runs latest
      mlrun push lab:shared/runs 1a2b3c4d
      mlrun push s3://bucket/runs --all
    """
    from runner.backends.depots.depot import open_depot
    from runner.flow import exchange
    from runner.flow.follow import refresh
    from runner.worker.codec import encode

    if everything == bool(run_ids):
        message = "name the runs to push, or --all"
        raise UsageError(message, hint="`mlrun push REMOTE latest` pushes the newest run")
    store = session.store
    if everything:
        refresh(store)
    runs = [run for run in store.runs() if run.seal.exists()] if everything else store.find_each(run_ids)
    depot = open_depot(remote, store.cache, make=True)
    done = []
    try:
        for run in runs:
            pushed = exchange.push(run, depot, store, logs=logs, observed=observed)
            done.append(pushed)
            for remark in pushed.remarks:
                session.say(f"note: {run.id[-8:]}: {printable(remark)}")
            sent = f"{pushed.files} files, {amount(pushed.bytes)}" if pushed.files else "it is there already"
            session.say(f"pushed {run.id[-8:]}: {sent}")
    finally:
        depot.close()
    if session.json:
        session.emit(pushed=encode(tuple(done)))


@click.command(short_help="Share runs: bring them here from a depot.")
@click.argument("remote", metavar="REMOTE")
@click.argument("run_ids", metavar="[ID]...", nargs=-1)
@click.option("-n", "--dry-run", is_flag=True, help="Say which runs there are, and bring none.")
@common
@click.pass_obj
def pull(session: Session, remote: str, run_ids: tuple[str, ...], dry_run: bool) -> None:
    """Bring runs here from a depot: those named, else all that are not here; every byte is checked by its digest.

    \b
    Examples:
      mlrun pull /mnt/team/runs
      mlrun pull lab:shared/runs 1a2b3c4d && mlrun rerun 1a2b3c4d
    """
    from runner.backends.depots.depot import open_depot
    from runner.flow import exchange
    from runner.records.clean import clean_text
    from runner.worker.codec import encode

    store = session.store
    depot = open_depot(remote, store.cache, make=False)
    done = []
    try:
        runs = exchange.known(depot)
        wanted = exchange.chosen(run_ids, runs)
        if dry_run:
            _list(session, wanted, {identity for identity in wanted if store.directory(identity).path.exists()})
            return
        for identity in wanted:
            pulled = exchange.pull(identity, runs[identity], depot, store, clean_text(remote))
            done.append(pulled)
            if pulled.new or run_ids:
                session.say(f"pulled {identity[-8:]}: {amount(pulled.bytes) if pulled.new else 'it is here already'}")
    finally:
        depot.close()
    new = sum(pulled.new for pulled in done)
    if session.json:
        session.emit(pulled=encode(tuple(done)))
    session.say(f"{new} new run{'s' * (new != 1)}, {len(done) - new} here already")


def _list(session: Session, runs: list[str], here: set[str]) -> None:
    if session.json:
        session.emit(runs=[{"id": identity, "here": identity in here} for identity in runs])
        return
    for identity in runs:
        click.echo(f"{identity}  {'here' if identity in here else 'new'}")
