"""The requests about registered models: names in the registry of the run."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Optional

from runner.worker.files import Json
from runner.worker.tracking.asked import Asked
from runner.worker.tracking.described import Described
from runner.worker.tracking.reading import paginate
from runner.worker.tracking.refusal import UNKNOWN, Refused, unsupported
from runner.worker.tracking.registry import NO_STAGE, Registered, Version
from runner.worker.tracking.runs import Runs
from runner.worker.tracking.search import sort, suits

Answer = dict[str, Json]

STAGES = {stage.lower(): stage for stage in (NO_STAGE, "Staging", "Production", "Archived")}
_PROMPT = "mlflow.prompt.is_prompt"
_LONGEST = 255  # characters of a name, as MLflow's databases have it
_ALIAS = re.compile(r"[\w-]+")
_RESERVED = re.compile(r"latest|v\d+", re.IGNORECASE)


def create(runs: Runs, asked: Asked) -> Answer:
    """Make a registered model."""
    name, tags = _new_name(runs, asked, "name"), dict(asked.pairs("tags"))
    if tags.get(_PROMPT, "").lower() == "true":
        message = "prompts"
        raise unsupported(message)
    write(runs, {"name": name, "info": described(asked), "tags": tags})
    return _answer(runs, name)


def rename(runs: Runs, asked: Asked) -> Answer:
    """Call a registered model by another name."""
    model = find(runs, asked)
    name = _new_name(runs, asked, "new_name")
    write(runs, {"name": model.name, "renamed": name})
    return _answer(runs, name)


def update(runs: Runs, asked: Asked) -> Answer:
    """Describe a registered model."""
    model = find(runs, asked)
    write(runs, {"name": model.name, "info": described(asked)})
    return _answer(runs, model.name)


def delete(runs: Runs, asked: Asked) -> Answer:
    """Take a name, with all its versions, out of the registry; the files of the models stay."""
    write(runs, {"name": find(runs, asked).name, "deleted": True})
    return {}


def get(runs: Runs, asked: Asked) -> Answer:
    """Return a registered model."""
    return _answer(runs, find(runs, asked).name)


def search(runs: Runs, asked: Asked) -> Answer:
    """Return the registered models that a filter fits."""
    found = sorted(runs.main.registry.models.values(), key=lambda model: model.name)
    found = sort(suits(found, asked.text("filter"), _facts), asked.texts("order_by"), _facts)
    page, token = paginate(found, asked, 100)
    return {"registered_models": [model.to_json() for model in page], **token}


def _facts(model: Registered, kind: str, name: str) -> Any:
    return tag_of(model, name) if kind in ("tags", "tag") else {**model.info, "name": model.name}.get(name)


def tag_of(thing: Described, name: str) -> Optional[str]:
    """Return a tag; clients ask for what is no prompt, which is all that is here."""
    return thing.tags.get(name, "false" if name == _PROMPT else None)


def latest(runs: Runs, asked: Asked) -> Answer:
    """Return the newest version of each stage, or of those that are asked for."""
    model = find(runs, asked)
    stages = {stage(text) for text in asked.texts("stages")} or set(STAGES.values())
    return {"model_versions": [version.to_json(model) for version in model.latest(stages)]}


def set_tag(runs: Runs, asked: Asked) -> Answer:
    """Set a tag of a registered model."""
    write(runs, {"name": find(runs, asked).name, "tags": dict([asked.pair()])})
    return {}


def delete_tag(runs: Runs, asked: Asked) -> Answer:
    """Remove a tag of a registered model."""
    write(runs, {"name": find(runs, asked).name, "untag": asked.key()})
    return {}


def set_alias(runs: Runs, asked: Asked) -> Answer:
    """Have an alias name a version."""
    alias = _alias(asked)
    if _RESERVED.fullmatch(alias):
        raise Refused(f"The alias name {alias!r} is reserved")
    model, version = find_version(runs, asked)
    write(runs, {"name": model.name, "aliases": {alias: version.number}})
    return {}


def delete_alias(runs: Runs, asked: Asked) -> Answer:
    """Remove an alias; one that is not there is no mistake."""
    write(runs, {"name": find(runs, asked).name, "unalias": _alias(asked)})
    return {}


def by_alias(runs: Runs, asked: Asked) -> Answer:
    """Return the version that an alias names."""
    model = find(runs, asked)
    return {"model_version": named(model, _alias(asked)).to_json(model)}


def named(model: Registered, alias: str) -> Version:
    """Return the version that an alias names, which may be the word `latest`; Refused where there is none."""
    newest = model.versions[-1:]
    if alias.lower() == "latest" and newest:
        return newest[0]
    version = model.version(model.aliases.get(alias, ""))
    if version is None:
        raise Refused(f"Registered model alias {alias} not found.")
    return version


def find(runs: Runs, asked: Asked) -> Registered:
    """Return the registered model that is asked for; Refused where there is none of that name."""
    return registered(runs, _name(asked, "name"))


def registered(runs: Runs, name: str) -> Registered:
    """Return the registered model of a name; Refused where there is none."""
    found = runs.main.registry.models.get(name)
    if found is None:
        message = f"Registered Model with name={name} not found: the registry is that of this run, and begins empty"
        raise Refused(message, "RESOURCE_DOES_NOT_EXIST", UNKNOWN)
    return found


def find_version(runs: Runs, asked: Asked) -> tuple[Registered, Version]:
    """Return the version that is asked for, and its model; Refused where there is none."""
    model = find(runs, asked)
    return model, version_of(model, asked.needed("version"))


def version_of(model: Registered, number: str) -> Version:
    """Return a version of a model; Refused where there is none of that number."""
    if not (number.isascii() and number.isdigit()):
        raise Refused(f"Invalid value {number!r} for parameter 'version' supplied: it is a whole number")
    version = model.version(str(int(number)))
    if version is None:
        message = f"Model Version (name={model.name}, version={number}) not found"
        raise Refused(message, "RESOURCE_DOES_NOT_EXIST", UNKNOWN)
    return version


def stage(text: str) -> str:
    """Return a stage as MLflow writes it; Refused where it is none."""
    found = STAGES.get(text.lower())
    if found is None:
        raise Refused(f"Invalid Model Version stage: {text}. Value must be one of {', '.join(STAGES.values())}.")
    return found


def described(asked: Asked) -> dict[str, Json]:
    """Return the description that is asked for, where there is one."""
    return {"description": asked.text("description")} if "description" in asked else {}


def write(runs: Runs, *lines: Mapping[str, Any]) -> None:
    """Keep changes of the registry, all of them or none."""
    moment = int(time.time() * 1000)
    runs.main.write({"do": "register", "at": moment, **line} for line in lines)


def _answer(runs: Runs, name: str) -> Answer:
    return {"registered_model": runs.main.registry.models[name].to_json()}


def _name(asked: Asked, field: str) -> str:
    name = asked.needed(field)
    if not name.strip() or name in (".", "..") or "/" in name or ":" in name:
        raise Refused(f"Invalid model name {name!r}. Names cannot be blank, and cannot contain '/' or ':'.")
    if len(name) > _LONGEST:
        message = f"The model name {name[:40]!r}... has {len(name)} characters, and at most {_LONGEST} are taken"
        raise Refused(message)
    return name


def _new_name(runs: Runs, asked: Asked, field: str) -> str:
    name = _name(asked, field)
    if name in runs.main.registry.models:
        message = f"Registered Model (name={name}) already exists."
        raise Refused(message, "RESOURCE_ALREADY_EXISTS")
    return name


def _alias(asked: Asked) -> str:
    alias = asked.needed("alias")
    if len(alias) > _LONGEST or not _ALIAS.fullmatch(alias):
        message = f"Invalid alias name: {alias[:80]!r}. It has letters, digits, '_' and '-', and at most {_LONGEST}."
        raise Refused(message)
    return alias
