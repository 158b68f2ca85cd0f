"""The requests that log something for a run."""

from __future__ import annotations

import json
from typing import Any

from runner.worker.files import Json
from runner.worker.tracking.asked import Asked, wrong
from runner.worker.tracking.refusal import Refused
from runner.worker.tracking.runs import Runs
from runner.worker.tracking.track import Track

Answer = dict[str, Json]

_STATUSES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_HISTORY = "mlflow.log-model.history"


def create(runs: Runs, asked: Asked) -> Answer:
    """Make a sub-run."""
    tags = dict(asked.pairs("tags"))
    track = runs.create(asked.text("run_name"), asked.text("user_id"), asked.integer("start_time"), tags)
    return {"run": track.to_json()}


def update(runs: Runs, asked: Asked) -> Answer:
    """Say how a run goes on. What mlrun itself says of the run's end is not touched by it."""
    track = runs.get(asked.run_id())
    line: dict[str, Any] = {"do": "run"}
    if "status" in asked:
        line["status"] = _status(asked)
    if "end_time" in asked:
        line["end_time"] = asked.integer("end_time")
    if asked.text("run_name"):
        line["run_name"] = asked.text("run_name")
    track.write([line])
    return {"run_info": track.info}


def _status(asked: Asked) -> str:
    text = asked.text("status")
    name = _STATUSES.get(int(text), "") if text.isdigit() else text
    if name not in _STATUSES.values():
        raise wrong(text, "status")
    return name


def set_stage(stage: str, runs: Runs, asked: Asked) -> Answer:
    """Delete or restore a run: it is marked, and nothing of it is removed."""
    track = runs.get(asked.run_id())
    if track is runs.main and stage == "deleted":
        message = "the run that goes on cannot be deleted by its own command; use `mlrun rm`"
        raise Refused(message, "INVALID_STATE")
    track.write([{"do": "run", "lifecycle_stage": stage}])
    return {}


def log_metric(runs: Runs, asked: Asked) -> Answer:
    """Log one value."""
    runs.get(asked.run_id()).measure([asked.point()])
    return {}


def log_param(runs: Runs, asked: Asked) -> Answer:
    """Log one parameter, once and for all."""
    track = runs.get(asked.run_id())
    _log(track, [asked.pair()], [])
    return {}


def set_tag(runs: Runs, asked: Asked) -> Answer:
    """Set a tag."""
    _log(runs.get(asked.run_id()), [], [asked.pair()])
    return {}


def delete_tag(runs: Runs, asked: Asked) -> Answer:
    """Remove a tag."""
    track, name = runs.get(asked.run_id()), asked.key()
    if name not in track.tags:
        message = f"No tag with name: {name} in run with id {track.id}"
        raise Refused(message, "RESOURCE_DOES_NOT_EXIST", 404)
    track.write([{"do": "untag", "name": name}])
    return {}


def log_batch(runs: Runs, asked: Asked) -> Answer:
    """Log metrics, parameters and tags: all of them, or none where one is refused."""
    track = runs.get(asked.run_id())
    points = [item.point() for item in asked.each("metrics")]
    _log(track, asked.pairs("params"), asked.pairs("tags"))
    track.measure(points)
    return {}


def _log(track: Track, params: list[tuple[str, str]], tags: list[tuple[str, str]]) -> None:
    track.check_params(params)
    new = {name: value for name, value in params if name not in track.params}
    lines = [{"do": "param", "name": name, "value": value} for name, value in new.items()]
    track.write([*lines, *({"do": "tag", "name": name, "value": value} for name, value in tags)])


def log_model(runs: Runs, asked: Asked) -> Answer:
    """Note a model as clients before 3.0 do: in a tag that lists them."""
    track = runs.get(asked.run_id())
    try:
        model = json.loads(asked.needed("model_json"))
        known = json.loads(track.tags.get(_HISTORY, "[]"))
    except ValueError:
        raise wrong(asked.text("model_json"), "model_json") from None
    if not isinstance(model, dict) or not isinstance(known, list):
        raise wrong(model, "model_json")
    track.write([{"do": "tag", "name": _HISTORY, "value": json.dumps([*known, model])}])
    return {}


def log_inputs(runs: Runs, asked: Asked) -> Answer:
    """Note the datasets and models that a run reads."""
    track = runs.get(asked.run_id())
    datasets = asked.each("datasets")
    for each in datasets:
        if not isinstance(each.fields.get("dataset"), dict):
            raise wrong(each.fields, "datasets")
    lines: list[dict[str, Any]] = [{"do": "dataset", "dataset": dict(each.fields)} for each in datasets]
    track.write([*lines, *({"do": "input", "model": each.needed("model_id")} for each in asked.each("models"))])
    return {}


def log_outputs(runs: Runs, asked: Asked) -> Answer:
    """Note the models that a run made."""
    models = [(each.needed("model_id"), each.integer("step")) for each in asked.each("models")]
    runs.get(asked.run_id()).write({"do": "output", "model": model, "step": step} for model, step in models)
    return {}
