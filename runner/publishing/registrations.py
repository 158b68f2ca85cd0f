"""The models that a run registered, registered at its server too when their files are there, by numbers of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from runner.publishing.content import LONGEST_TAG, pairs
from runner.publishing.published import Published, Shelf
from runner.publishing.server import RejectedError, Server

MODEL = "registered model "  # what a refusal's words begin with
NUMBER = "mlrun.version"  # the tag by which a version that was made at the server is found again
_INSIDE = re.compile(r"(?:children/([^/]+)/)?artifacts/(.+)", re.DOTALL)
_EXISTS = "RESOURCE_ALREADY_EXISTS"

Refuse = Callable[[str, str], None]


def register_all(server: Server, shelf: Shelf, record: Any, refuse: Refuse) -> None:
    """Register an ended run's models; ``refuse`` is told what the server does not want."""
    for model in (record.get("tracking") or {}).get("registered", ()):
        what = f"{MODEL}{model['name']}"
        with _telling(refuse, what):
            _name(server, model)
            for version in model["versions"]:
                with _telling(refuse, f"{what} {version['version']}"):
                    number = _version(server, shelf, record["run"]["id"], model, version)
                    _place(server, model, version, number, refuse)


@contextmanager
def _telling(refuse: Refuse, what: str) -> Iterator[None]:
    try:
        yield
    except RejectedError as error:
        refuse(what, error.message)


def _name(server: Server, model: Any) -> None:
    """Make a registered model; of one that is there the description stays: others may have written it."""
    tags = pairs(model["tags"], LONGEST_TAG)
    try:
        server.post("registered-models/create", name=model["name"], tags=tags, description=model["description"])
    except RejectedError as error:
        if error.code != _EXISTS:
            raise
        for tag in tags:
            server.post("registered-models/set-tag", name=model["name"], **tag)


def _place(server: Server, model: Any, version: Any, number: str, refuse: Refuse) -> None:
    """Give a version, which has this number at the server, the aliases and the stage that it has here."""
    name = model["name"]
    for alias, mine in model["aliases"].items():
        if mine == version["version"]:
            with _telling(refuse, f"{MODEL}{name} {mine}, its alias {alias}"):
                server.post("registered-models/alias", name=name, alias=alias, version=number)
    if version["stage"]:
        server.post("model-versions/transition-stage", name=name, version=number, stage=version["stage"])


def _version(server: Server, shelf: Shelf, run: str, model: Any, version: Any) -> str:
    """Return the server's number of a version, which is made where it is not there yet."""
    inside = _INSIDE.fullmatch(version["path"])
    there = shelf.find(inside[1] or run) if inside is not None else None
    if inside is None or there is None:
        raise _without_files()
    found = server.get("model-versions/search", filter=f"run_id = '{there.run_id}'").get("model_versions", ())
    for each in found:
        numbers = [tag["value"] for tag in each.get("tags", ()) if tag["key"] == NUMBER]
        if each["name"] == model["name"] and version["version"] in numbers:
            return str(each["version"])
    made = server.post(
        "model-versions/create",
        name=model["name"],
        **_source(server, there, inside[2]),
        run_id=there.run_id,
        description=version["description"],
        tags=pairs({**version["tags"], NUMBER: version["version"]}, LONGEST_TAG),
    )
    return str(made["model_version"]["version"])


def _source(server: Server, there: Published, path: str) -> dict[str, str]:
    """Return what a version is made of: a logged model of the server, else artifacts of the run."""
    if path in there.models:
        return {"source": f"models:/{there.models[path]}", "model_id": there.models[path]}
    if not server.get("artifacts/list", run_id=there.run_id, path=path).get("files"):
        raise _without_files()
    root = str(server.get("runs/get", run_id=there.run_id)["run"]["info"]["artifact_uri"])
    return {"source": f"{root.rstrip('/')}/{path}"}


def _without_files() -> RejectedError:
    message = "its files are not at the server"
    return RejectedError(message, "", 404)
