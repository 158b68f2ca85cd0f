"""To which server, and to which experiment there, a run goes: by the command line, else by MLflow's own variables."""

from __future__ import annotations

import os
from collections.abc import Mapping

from runner.errors import UsageError
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Destination:
    """Where a run appears besides here; nowhere without a URI."""

    tracking_uri: str | None = None  # of an HTTP server, without credentials
    experiment: str | None = None
    experiment_id: str | None = None


def destination(
    uri: str | None, experiment: str | None, experiment_id: str | None, environ: Mapping[str, str] = os.environ
) -> Destination:
    """Return the destination; UsageError where ``uri`` is not that of an HTTP server, or an experiment named twice.

    A variable that names no HTTP server is passed over: what lies in files and databases is reached by no client of
    ours. So are all variables inside of a run: there they are those of its own endpoint.
    """
    if experiment and experiment_id:
        message = "an experiment is named twice, by its name and by its id"
        raise UsageError(message, hint="give one of them")
    if environ.get("MLRUN_RUN_ID"):
        environ = {}
    if experiment is None and experiment_id is None:
        experiment = environ.get("MLFLOW_EXPERIMENT_NAME") or None
        experiment_id = None if experiment else environ.get("MLFLOW_EXPERIMENT_ID") or None
    named = environ.get("MLFLOW_TRACKING_URI", "")
    if uri is None and named.partition("://")[0] in ("http", "https"):
        uri = named
    if uri is None:
        return Destination(None, experiment, experiment_id)
    from runner.publishing.server import address, remember  # ssl and what it needs: few runs go anywhere

    where = address(uri)
    remember(where)
    return Destination(where.uri, experiment, experiment_id)
