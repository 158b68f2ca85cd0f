"""`mlrun publish`: runs at a team's own MLflow server."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import common, run_arguments
from runner.cli.session import Session, printable

if TYPE_CHECKING:
    from runner.publishing.published import Published


@click.command(short_help="Bring runs to an MLflow server.")
@run_arguments
@click.option("--tracking-uri", metavar="URI", help="The server; the one a run was made for if left out.")
@common
@click.pass_obj
def publish(session: Session, run_ids: tuple[str, ...], tracking_uri: str | None) -> None:
    """Bring runs to a team's MLflow server: parameters, metrics, tags, artifacts, and how they ended.

    What is there already is not sent again. Credentials are MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
    MLFLOW_TRACKING_TOKEN.

    \b
    Examples:
      mlrun publish latest
      mlrun publish 1a2b3c4d --tracking-uri https://mlflow.example.org
    """
    from runner.flow.publish import publish as bring

    store = session.store
    done: list[dict[str, Any]] = []
    for run in [store.find(run_id) for run_id in run_ids]:
        published = bring(run, store, tracking_uri)
        done.append({"run": run.id, "url": page(published), **asdict(published)})
        _say(session, run.id, published)
    if session.json:
        session.emit(published=done)


def page(published: Published) -> str:
    """Return the address of a run's page."""
    return f"{published.server}/#/experiments/{published.experiment_id}/runs/{published.run_id}"


def _say(session: Session, identity: str, published: Published) -> None:
    from runner.store.store import short

    so_far = "" if published.complete else ", so far: it goes on"
    session.say(f"{click.style('✓', fg='green')} {short(identity)} is at {page(published)}{so_far}")
    for each in published.refused:
        session.say(f"  not there: {printable(each.what)}: {printable(each.reason)}")
