"""Bring a run to a team's MLflow server now: what is missing there is sent, and what is there is not sent twice."""

from __future__ import annotations

import os
from typing import Any

from runner.errors import PublishError, UsageError
from runner.flow.follow import record_of, started_by
from runner.publishing.destination import destination
from runner.publishing.live import Publisher
from runner.publishing.published import Published
from runner.publishing.server import Server, address
from runner.store.ids import short
from runner.store.store import Store
from runner.worker.facts import Request
from runner.worker.rundir import RunDirectory


def publish(run: RunDirectory, store: Store, uri: str | None = None) -> Published:
    """Bring a run to a server: ``uri``, else the one it was made for, else MLFLOW_TRACKING_URI.

    Of a run that goes on, what there is so far. PublishError where the server cannot be reached, refuses, or has
    deleted the run; UsageError where no server is named.
    """
    server = Server(address(_named(run, uri)))
    publisher = Publisher(run, server, lambda identity: started_by(identity, store))
    record: Any = record_of(run, store)
    with publisher.shelf.held() as held:
        if not held:
            message = f"the run {short(run.id)} is being brought to {publisher.server.uri} by another process"
            raise PublishError(message, hint="wait for it; `mlrun show` says what is there")
        _refuse_deleted(publisher)
        if record["run"]["ended"] is not None or run.record.exists():
            publisher.end(record)
        else:
            while publisher.step():
                pass
    assert publisher.main.state is not None
    return publisher.main.state


def _named(run: RunDirectory, uri: str | None) -> str:
    named = destination(uri, None, None).tracking_uri if uri else run.read(Request).tracking_uri
    named = named or destination(None, None, None, os.environ).tracking_uri
    if named is None:
        message = f"no server is named to bring the run {short(run.id)} to"
        raise UsageError(message, hint="write --tracking-uri http://HOST:PORT, or set MLFLOW_TRACKING_URI")
    return named


def _refuse_deleted(publisher: Publisher) -> None:
    state = publisher.main.state
    if state is None:
        return
    info = publisher.server.get("runs/get", run_id=state.run_id)["run"]["info"]
    if info.get("lifecycle_stage") == "deleted":
        message = f"the run {state.run_id} was deleted on {state.server}"
        raise PublishError(message, hint=f"restore it there, or remove {publisher.shelf.path} to bring it there anew")
