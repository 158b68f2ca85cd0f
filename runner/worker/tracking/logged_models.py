"""The requests about logged models, which clients of MLflow 3 make: a model is said, its files are artifacts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from runner.worker.files import Json
from runner.worker.tracking.asked import Asked, wrong
from runner.worker.tracking.reading import list_files, paginate
from runner.worker.tracking.refusal import Refused
from runner.worker.tracking.runs import Runs
from runner.worker.tracking.search import by, suits
from runner.worker.tracking.series import Point
from runner.worker.tracking.track import Model, Track

Answer = dict[str, Json]
Dataset = tuple[str, str]  # name and digest; the digest may be ""

_STATUSES = {"1": "PENDING", "2": "READY", "3": "UPLOAD_FAILED"}
_NOT_IN_NAMES = frozenset("/:.%\"'\0")


def create(runs: Runs, asked: Asked) -> Answer:
    """Make a model. Its files lie where the next run of the same script puts its own: under its name, not its id."""
    track = runs.get(asked.text("source_run_id") or runs.main.id)
    name = asked.text("name") or "model"
    if not _NOT_IN_NAMES.isdisjoint(name):
        raise Refused(f"Invalid model name ({name!r}): it holds one of / : . % \" '")
    same = sum(model.info.get("name") == name for model in track.models.values())
    place = track.artifacts / "models" / (name if same == 0 else f"{name}.{same + 1}")
    now = int(time.time() * 1000)
    info = {
        "name": name,
        "model_type": asked.text("model_type"),
        "source_run_id": track.id,
        "status": "LOGGED_MODEL_PENDING",
        "artifact_uri": place.as_uri(),
        "creation_timestamp_ms": now,
        "last_updated_timestamp_ms": now,
    }
    model_id = f"m-{uuid.uuid4().hex}"
    return _write(runs, track, model_id, info=info, params=dict(asked.pairs("params")), tags=dict(asked.pairs("tags")))


def get(runs: Runs, asked: Asked) -> Answer:
    """Return a model."""
    _, model = runs.model(asked.words[0])
    return {"model": model.to_json(runs.measured(model.id))}


def finalize(runs: Runs, asked: Asked) -> Answer:
    """Say that a model's files are there, or that they are not."""
    track, model = runs.model(asked.words[0])
    text = asked.needed("status")
    status = _STATUSES.get(text, text.replace("LOGGED_MODEL_", ""))
    if status not in _STATUSES.values():
        raise wrong(text, "status")
    return _write(runs, track, model.id, info={"status": f"LOGGED_MODEL_{status}"})


def delete(runs: Runs, asked: Asked) -> Answer:
    """Mark a model as deleted; its files stay."""
    track, model = runs.model(asked.words[0])
    _write(runs, track, model.id, deleted=True)
    return {}


def log_params(runs: Runs, asked: Asked) -> Answer:
    """Add parameters to a model."""
    track, model = runs.model(asked.words[0])
    _write(runs, track, model.id, params=dict(asked.pairs("params")))
    return {}


def set_tags(runs: Runs, asked: Asked) -> Answer:
    """Set tags of a model."""
    track, model = runs.model(asked.words[0])
    return _write(runs, track, model.id, tags=dict(asked.pairs("tags")))


def delete_tag(runs: Runs, asked: Asked) -> Answer:
    """Remove a tag of a model."""
    track, model = runs.model(asked.words[0])
    return _write(runs, track, model.id, untag=asked.words[1])


def artifacts(runs: Runs, asked: Asked) -> Answer:
    """List a directory of a model's files."""
    track, model = runs.model(asked.words[0])
    uri = str(model.info["artifact_uri"])
    root = track.artifacts / "models" / _last(track, uri)
    return {"root_uri": uri, "files": list_files(root, asked.text("artifact_directory_path"))}


def _last(track: Track, uri: str) -> str:
    from urllib.parse import unquote

    return unquote(uri[len((track.artifacts / "models").as_uri()) + 1 :])


def search(runs: Runs, asked: Asked) -> Answer:
    """Return the models that a filter fits, the newest first; ``datasets`` says on what its metrics were measured."""
    found = [model for track in runs for model in track.models.values() if not model.deleted]
    facts = partial(_facts, runs, [_dataset(each) for each in asked.each("datasets")])
    found = suits(found, asked.text("filter"), facts)[::-1]
    for order in reversed(asked.each("order_by")):
        kind, _, name = order.needed("field_name").rpartition(".")
        on = [_dataset(order)] if "dataset_name" in order else []
        falling = order.fields.get("ascending") is False
        found = by(found, partial(_first, runs, on, kind or "attributes", name), falling)
    page, token = paginate(found, asked, 100)
    return {"models": [model.to_json(runs.measured(model.id)) for model in page], **token}


def _dataset(asked: Asked) -> Dataset:
    return asked.text("dataset_name"), asked.text("dataset_digest")


def _facts(runs: Runs, datasets: list[Dataset], model: Model, kind: str, name: str) -> Any:
    if kind in ("metrics", "metric"):
        points = [point for _, point in runs.measured(model.id) if point.name == name]
        return [point.value for point in points if not datasets or any(_is_on(point, each) for each in datasets)]
    if kind in ("params", "param"):
        return model.params.get(name)
    if kind in ("tags", "tag"):
        return model.tags.get(name)
    aliases = {"creation_timestamp": "creation_timestamp_ms", "last_updated_timestamp": "last_updated_timestamp_ms"}
    return model.info.get(aliases.get(name, name))


def _is_on(point: Point, dataset: Dataset) -> bool:
    name, digest = dataset
    return point.dataset[0] == name and digest in ("", point.dataset[1])


def _first(runs: Runs, datasets: list[Dataset], kind: str, name: str, model: Model) -> Any:
    """Return what models are ordered by: of several values of a metric, the first."""
    fact = _facts(runs, datasets, model, kind, name)
    return next(iter(fact), None) if isinstance(fact, list) else fact


def _write(runs: Runs, track: Track, model_id: str, **line: Any) -> Answer:
    kept: Mapping[str, Any] = {"do": "model", "id": model_id, **line}
    track.write([kept])
    return {"model": track.models[model_id].to_json(runs.measured(model_id))}
