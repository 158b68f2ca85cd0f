"""The requests about versions of registered models: a version is a directory of artifacts of the run, by a number."""

from __future__ import annotations

import os
from typing import Any, Optional
from urllib.parse import unquote, urlsplit

from runner.worker.files import Json
from runner.worker.tracking.asked import Asked
from runner.worker.tracking.reading import paginate
from runner.worker.tracking.refusal import Refused
from runner.worker.tracking.registered_models import (
    described,
    find,
    find_version,
    named,
    registered,
    stage,
    tag_of,
    version_of,
    write,
)
from runner.worker.tracking.registry import Registered, Version
from runner.worker.tracking.runs import Runs
from runner.worker.tracking.search import sort, suits
from runner.worker.tracking.track import Track

Answer = dict[str, Json]

_MODELS, _RUNS = "models:/", "runs:/"
_ACTIVE = ("Staging", "Production")


def create(runs: Runs, asked: Asked) -> Answer:
    """Make the next version of a registered model."""
    model = find(runs, asked)
    number = model.next_number()
    info = {
        "source": asked.needed("source"),
        "run_link": asked.text("run_link"),
        "user_id": runs.main.info["user_id"],
        **described(asked),
        **_origin(runs, asked),
    }
    write(runs, {"name": model.name, "version": number, "info": info, "tags": dict(asked.pairs("tags"))})
    return {"model_version": version_of(model, number).to_json(model)}


def _origin(runs: Runs, asked: Asked) -> dict[str, str]:
    """Return where a version's files are, and of which run and logged model; Refused where they are not the run's."""
    source, run_id, model_id = asked.needed("source"), asked.text("run_id"), asked.text("model_id")
    parts = urlsplit(source)
    if parts.scheme == "models":
        return _origin_of_model(runs, source[len(_MODELS) :].strip("/").split("/"))
    if parts.scheme == "runs":
        run_id, _, path = source[len(_RUNS) :].strip("/").partition("/")
        path = os.path.join(runs.get(run_id).artifacts, path)
    elif parts.scheme in ("", "file"):
        path = unquote(parts.path) if parts.scheme else source
    else:
        return {"run_id": run_id, "model_id": model_id, "place": source}
    track = runs.model(model_id)[0] if model_id else runs.get(run_id) if run_id else None
    return {"run_id": run_id, "model_id": model_id, "place": _place(track, path, source)}


def _place(track: Optional[Track], path: str, source: str) -> str:
    """Return the address of artifacts of a run; MLflow's servers take no other local files, either."""
    root = "" if track is None else os.path.realpath(track.artifacts)
    place = os.path.realpath(path)
    if track is None or os.path.commonpath([place, root]) != root:
        message = (
            f"Invalid model version source: {source!r}. It is a directory of artifacts of the run, or of the sub-run, "
            "that run_id names: log the model first"
        )
        raise Refused(message)
    return (track.artifacts / os.path.relpath(place, root)).as_uri()


def _origin_of_model(runs: Runs, words: list[str]) -> dict[str, str]:
    """Return the origin of a logged model (its id), or of a version that is registered already."""
    if len(words) == 1 and "@" not in words[0]:
        track, logged = runs.model(words[0])
        return {"run_id": track.id, "model_id": logged.id, "place": str(logged.info["artifact_uri"])}
    origin = _version_at(runs, words).info
    return {name: str(origin[name]) for name in ("run_id", "model_id", "place")}


def _version_at(runs: Runs, words: list[str]) -> Version:
    """Return the version that NAME/NUMBER, NAME/STAGE, NAME/latest or NAME@ALIAS means."""
    name, _, alias = words[0].partition("@")
    model = registered(runs, name)
    if len(words) == 1:
        return named(model, alias)
    if words[1].isdigit():
        return version_of(model, words[1])
    if words[1].lower() == "latest":
        return named(model, words[1])
    newest = model.latest({stage(words[1])})
    if not newest:
        raise Refused(f"No versions of model with name {name!r} and stage {words[1]!r} found")
    return newest[0]


def get(runs: Runs, asked: Asked) -> Answer:
    """Return a version."""
    return _answer(*find_version(runs, asked))


def download_uri(runs: Runs, asked: Asked) -> Answer:
    """Return where a version's files are."""
    return {"artifact_uri": find_version(runs, asked)[1].info["place"]}


def update(runs: Runs, asked: Asked) -> Answer:
    """Describe a version."""
    return _change(runs, asked, info=described(asked))


def transition(runs: Runs, asked: Asked) -> Answer:
    """Move a version to a stage; those that are there move to the archive, where that is asked for."""
    model, version = find_version(runs, asked)
    wanted = stage(asked.needed("stage"))
    others: list[Version] = []
    if asked.text("archive_existing_versions").lower() == "true":
        if wanted not in _ACTIVE:
            raise Refused(f"Existing versions cannot be archived because {wanted!r} is not one of {', '.join(_ACTIVE)}")
        others = [each for each in model.versions if each.stage == wanted and each is not version]
    stages = [*((each.number, "Archived") for each in others), (version.number, wanted)]
    write(runs, *({"name": model.name, "version": n, "info": {"current_stage": s}} for n, s in stages))
    return _answer(model, version)


def delete(runs: Runs, asked: Asked) -> Answer:
    """Take a version out of the registry; its files stay."""
    _change(runs, asked, deleted=True)
    return {}


def set_tag(runs: Runs, asked: Asked) -> Answer:
    """Set a tag of a version."""
    _change(runs, asked, tags=dict([asked.pair()]))
    return {}


def delete_tag(runs: Runs, asked: Asked) -> Answer:
    """Remove a tag of a version."""
    _change(runs, asked, untag=asked.key())
    return {}


def search(runs: Runs, asked: Asked) -> Answer:
    """Return the versions that a filter fits, the newest first."""
    found = [(model, version) for model in runs.main.registry.models.values() for version in model.versions]
    found.sort(key=lambda pair: (-pair[1].info["last_updated_timestamp"], pair[0].name, -int(pair[1].number)))
    found = sort(suits(found, asked.text("filter"), _facts), asked.texts("order_by"), _facts)
    page, token = paginate(found, asked, 10_000)
    return {"model_versions": [version.to_json(model) for model, version in page], **token}


def _facts(pair: tuple[Registered, Version], kind: str, name: str) -> Any:
    model, version = pair
    if kind in ("tags", "tag"):
        return tag_of(version, name)
    about = {"name": model.name, "version_number": int(version.number), "source_path": version.info["source"]}
    return {**version.info, **about}.get(name)


def _change(runs: Runs, asked: Asked, **line: Any) -> Answer:
    model, version = find_version(runs, asked)
    write(runs, {"name": model.name, "version": version.number, **line})
    return _answer(model, version)


def _answer(model: Registered, version: Version) -> Answer:
    return {"model_version": version.to_json(model)}
