"""Which request is answered by what: MLflow's REST API, as far as it is about one run."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping
from functools import partial
from typing import Callable

from runner.worker.files import Json
from runner.worker.tracking import logged_models, model_versions, reading, registered_models, writing
from runner.worker.tracking.asked import Asked, read_body, read_query
from runner.worker.tracking.refusal import UNSUPPORTED, Refused, unsupported
from runner.worker.tracking.runs import Runs
from runner.worker.tracking.wire import Head

Route = Callable[[Runs, Asked], "dict[str, Json]"]

_PREFIXES = ("/api/2.0/mlflow/", "/api/3.0/mlflow/", "/ajax-api/2.0/mlflow/", "/ajax-api/3.0/mlflow/")
_PREVIEW = "/api/2.0/preview/mlflow/"  # what clients before 1.0 said

ROUTES: Mapping[tuple[str, str], Route] = {
    ("POST", "runs/create"): writing.create,
    ("POST", "runs/update"): writing.update,
    ("POST", "runs/delete"): partial(writing.set_stage, "deleted"),
    ("POST", "runs/restore"): partial(writing.set_stage, "active"),
    ("POST", "runs/log-metric"): writing.log_metric,
    ("POST", "runs/log-parameter"): writing.log_param,
    ("POST", "runs/log-batch"): writing.log_batch,
    ("POST", "runs/set-tag"): writing.set_tag,
    ("POST", "runs/delete-tag"): writing.delete_tag,
    ("POST", "runs/log-model"): writing.log_model,
    ("POST", "runs/log-inputs"): writing.log_inputs,
    ("POST", "runs/outputs"): writing.log_outputs,
    ("GET", "runs/get"): reading.get,
    ("POST", "runs/search"): reading.search,
    ("GET", "metrics/get-history"): reading.history,
    ("GET", "metrics/get-history-bulk-interval"): reading.histories,
    ("GET", "artifacts/list"): reading.artifacts,
    ("GET", "experiments/get"): reading.experiment,
    ("GET", "experiments/get-by-name"): reading.experiment,
    ("POST", "experiments/create"): reading.create_experiment,
    ("POST", "experiments/update"): reading.rename_experiment,
    ("POST", "experiments/search"): reading.search_experiments,
    ("GET", "experiments/search"): reading.search_experiments,
    ("GET", "experiments/list"): reading.search_experiments,
    ("POST", "experiments/set-experiment-tag"): reading.tag_experiment,
    ("POST", "experiments/delete-experiment-tag"): reading.untag_experiment,
    ("POST", "experiments/delete"): reading.delete_experiment,
    ("POST", "logged-models"): logged_models.create,
    ("POST", "logged-models/search"): logged_models.search,
    ("GET", "logged-models/*"): logged_models.get,
    ("PATCH", "logged-models/*"): logged_models.finalize,
    ("DELETE", "logged-models/*"): logged_models.delete,
    ("PATCH", "logged-models/*/tags"): logged_models.set_tags,
    ("DELETE", "logged-models/*/tags/*"): logged_models.delete_tag,
    ("POST", "logged-models/*/params"): logged_models.log_params,
    ("GET", "logged-models/*/artifacts/directories"): logged_models.artifacts,
    ("POST", "registered-models/create"): registered_models.create,
    ("POST", "registered-models/rename"): registered_models.rename,
    ("PATCH", "registered-models/update"): registered_models.update,
    ("DELETE", "registered-models/delete"): registered_models.delete,
    ("GET", "registered-models/get"): registered_models.get,
    ("GET", "registered-models/search"): registered_models.search,
    ("GET", "registered-models/list"): registered_models.search,
    ("POST", "registered-models/get-latest-versions"): registered_models.latest,
    ("GET", "registered-models/get-latest-versions"): registered_models.latest,
    ("POST", "registered-models/set-tag"): registered_models.set_tag,
    ("DELETE", "registered-models/delete-tag"): registered_models.delete_tag,
    ("POST", "registered-models/alias"): registered_models.set_alias,
    ("DELETE", "registered-models/alias"): registered_models.delete_alias,
    ("GET", "registered-models/alias"): registered_models.by_alias,
    ("POST", "model-versions/create"): model_versions.create,
    ("PATCH", "model-versions/update"): model_versions.update,
    ("POST", "model-versions/transition-stage"): model_versions.transition,
    ("DELETE", "model-versions/delete"): model_versions.delete,
    ("GET", "model-versions/get"): model_versions.get,
    ("GET", "model-versions/get-download-uri"): model_versions.download_uri,
    ("GET", "model-versions/search"): model_versions.search,
    ("POST", "model-versions/set-tag"): model_versions.set_tag,
    ("DELETE", "model-versions/delete-tag"): model_versions.delete_tag,
}

_FEATURES = {
    "traces": "traces",
    "datasets": "evaluation datasets",
    "prompt-optimization": "prompts",
    "scorers": "scorers",
    "gateway": "AI gateway",
    "workspaces": "workspaces",
    "webhooks": "webhooks",
}


class Api:
    """Answers requests from the runs."""

    def __init__(self, runs: Runs) -> None:
        """Answer from these."""
        self._runs = runs

    def answer(self, head: Head, body: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer, whatever is asked."""
        try:
            return 200, _json(self._dispatch(head, body))
        except Refused as refused:
            return refused.status, error(refused.status, refused.code, refused.message)
        except Exception as failure:  # noqa: BLE001 - one request that fails must not end the others
            traceback.print_exc(file=sys.stderr)
            message = f"mlrun itself failed: {type(failure).__name__}: {failure}; see worker.log of the run"
            return UNSUPPORTED, error(UNSUPPORTED, "INTERNAL_ERROR", message)

    def _dispatch(self, head: Head, body: bytes) -> dict[str, Json]:
        path = head.path.replace(_PREVIEW, _PREFIXES[0], 1)
        name = next((path[len(prefix) :] for prefix in _PREFIXES if path.startswith(prefix)), None)
        if name is None:
            if path == "/health":
                return {}
            raise Refused(f"No API found for '{head.method} {path}'", "ENDPOINT_NOT_FOUND", 404)
        if name in ("server-info", "server-features"):
            return {"store_type": "mlrun", "workspaces_enabled": False}
        route, words = _find(head.method, name.strip("/"))
        fields = read_query(head.query) if head.method == "GET" else {**read_query(head.query), **read_body(body)}
        return route(self._runs, Asked(fields, words))


def error(status: int, code: str, message: str) -> bytes:
    """Return the body of an error, as clients of MLflow read it."""
    del status
    return _json({"error_code": code, "message": message})


def _find(method: str, name: str) -> tuple[Route, tuple[str, ...]]:
    """Return what answers a request, and the words of its path that are no part of the name."""
    route = ROUTES.get((method, name))
    if route is not None:
        return route, ()
    kind, *parts = name.split("/")
    if kind == "logged-models" and parts:
        # A tag's name may hold slashes.
        parts = [*parts[:2], "/".join(parts[2:])] if parts[1:2] == ["tags"] and parts[2:] else parts
        pattern = "/".join([kind, *("*" if index % 2 == 0 else part for index, part in enumerate(parts))])
        pattern = pattern.replace("artifacts/*", "artifacts/directories")
        route = ROUTES.get((method, pattern))
        if route is not None:
            return route, tuple(parts[::2])
    raise unsupported(_FEATURES.get(kind, f"'{method} {name}'"))


def _json(value: dict[str, Json]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") if value else b"{}"
