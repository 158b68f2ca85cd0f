"""The models that a run logged, as logged models of a server that has such: its clients find them as runs:/RUN/NAME."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.publishing.content import LONGEST_PARAM, LONGEST_TAG, pairs
from runner.publishing.published import Published
from runner.publishing.server import RejectedError, Server

if TYPE_CHECKING:
    from runner.worker.tracking.track import Model, Track

MODEL = "logged model "  # what a refusal's words begin with
_IDENTITY = "mlrun.model_id"  # the tag by which a model that was made at the server is found again
_MOST_PARAMS, _MOST_METRICS = 100, 1000  # in one request: MLflow's own limits
_PENDING = "LOGGED_MODEL_PENDING"  # its client never said that its files are there
_NO_SUCH_API = (404, 405, 501)  # servers before MLflow 3


def has_models(error: RejectedError) -> bool:
    """Whether a server that refuses knows logged models at all."""
    return error.status not in _NO_SUCH_API


def make(server: Server, state: Published, model: Model) -> str:
    """Return the server's id of a logged model, which is made where it is not there yet."""
    wanted = {"experiment_ids": [state.experiment_id], "filter": f"tags.`{_IDENTITY}` = '{model.id}'"}
    found = server.post("logged-models/search", **wanted).get("models")
    if found:
        return str(found[0]["info"]["model_id"])
    params = pairs(model.params, LONGEST_PARAM)
    made = server.post(
        "logged-models",
        experiment_id=state.experiment_id,
        name=str(model.info.get("name", "model")),
        model_type=str(model.info.get("model_type", "")),
        source_run_id=state.run_id,
        params=params[:_MOST_PARAMS],
        tags=pairs({**model.tags, _IDENTITY: model.id}, LONGEST_TAG),
    )
    identity = str(made["model"]["info"]["model_id"])
    for first in range(_MOST_PARAMS, len(params), _MOST_PARAMS):
        more = params[first : first + _MOST_PARAMS]
        server.post(f"logged-models/{identity}/params", model_id=identity, params=more)
    return identity


def finish(server: Server, state: Published, track: Track, model: Model, identity: str) -> None:
    """Say that the files of a model are there, which run made it, and what was measured of it."""
    status = str(model.info.get("status", _PENDING))
    if status != _PENDING:
        server.patch(f"logged-models/{identity}", model_id=identity, status=status)
    made: Any = track.to_json()["outputs"]
    steps = {each["model_id"]: each["step"] for each in made["model_outputs"]}
    outputs = [{"model_id": identity, "step": steps.get(model.id, 0)}]
    server.post("runs/outputs", run_id=state.run_id, models=outputs)
    rows = [{**point.to_json(), "model_id": identity} for point in track.series.of_model(model.id)]
    for first in range(0, len(rows), _MOST_METRICS):
        server.post("runs/log-batch", run_id=state.run_id, metrics=rows[first : first + _MOST_METRICS])
