"""What a server is told of a run: the parameters and the tags that `mlflow run` sets, and those of mlrun."""

from __future__ import annotations

from typing import Any

from runner.store.ids import short
from runner.worker.clock import seconds
from runner.worker.facts import Request, SourceFacts
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec

IDENTITY = "mlrun.run_id"  # the tag by which a run that was made at the server is found again
LONGEST_PARAM, LONGEST_TAG, LONGEST_NAME = 6000, 5000, 250
_ENVIRONMENTS = {"container": "docker", "host": "local"}  # as MLflow calls them
_STATUSES = {"succeeded": "FINISHED", "failed": "FAILED", "killed": "KILLED", "lost": "FAILED"}


def creation(run: RunDirectory) -> dict[str, Any]:
    """Return what makes the run at the server."""
    request = run.read(Request)
    return {
        "user_id": request.actor.user,
        "start_time": milliseconds(request.created),
        "run_name": request.name or short(run.id),
        "tags": pairs(_tags(run, request), LONGEST_TAG),
    }


def params(run: RunDirectory) -> dict[str, str]:
    """Return the parameters as the command got them."""
    return {parameter.name: parameter.raw for parameter in run.read(RunSpec).parameters}


def status(record: Any, identity: str) -> tuple[str, int | None]:
    """Return how a run, or a sub-run of it, ended in MLflow's words, and when, in ms."""
    ended = record["run"]["ended"]
    status = _STATUSES.get(record["run"]["status"], "RUNNING")
    children = (record.get("tracking") or {}).get("children", ())
    child = next((each for each in children if each["id"] == identity), None)
    if child is not None:
        ended = child["ended"] or ended
        status = status if child["status"] in ("unfinished", "running") else child["status"].upper()
    return status, None if ended is None else milliseconds(ended)


def models(record: Any, identity: str) -> dict[str, str]:
    """Return the directories, among the artifacts of a run or a sub-run, of the models that it logged, by their ids."""
    tracking = record.get("tracking") or {"children": (), "models": ()}
    child = next((each for each in tracking["children"] if each["id"] == identity), None)
    start = "artifacts/" if child is None else f"children/{identity}/artifacts/"
    found = (tracking if child is None else child)["models"]
    return {each["id"]: each["path"][len(start) :] for each in found if each["path"].startswith(start)}


def pairs(values: dict[str, str], longest: int) -> list[dict[str, str]]:
    """Return names and values as MLflow has them; a long value is cut, as MLflow's own client does."""
    return [{"key": name, "value": printable(value)[:longest]} for name, value in values.items()]


def printable(text: str) -> str:
    """Return text that JSON takes anywhere: bytes that are no UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def milliseconds(moment: str) -> int:
    """Return a moment of a record as MLflow has it."""
    return int(seconds(moment) * 1000)


def _tags(run: RunDirectory, request: Request) -> dict[str, str]:
    spec, source = run.read(RunSpec), run.read(SourceFacts)
    tags = {
        "mlflow.user": request.actor.user,
        "mlflow.source.type": "PROJECT",
        "mlflow.source.name": _source(source),
        "mlflow.project.entryPoint": spec.entry_point,
        "mlflow.project.env": _ENVIRONMENTS.get(spec.environment.kind, spec.environment.kind),
        "mlflow.project.backend": request.backend,
        "mlflow.source.git.commit": source.commit or "",
        "mlflow.source.git.branch": source.branch or "",
        "mlflow.source.git.repoURL": source.url or "",
        "mlflow.source.git.dirty": "true" if source.dirty else "",
        "mlflow.note.content": request.why,
        "mlrun.spec_digest": spec.digest,
        "mlrun.rerun_of": request.rerun_of or "",
    }
    return {**{name: text for name, text in tags.items() if text}, **request.tags, IDENTITY: run.id}


def _source(source: SourceFacts) -> str:
    root = source.url if source.kind != "directory" and source.root.startswith(("http", "git", "ssh")) else None
    place = root or (f"file://{source.root}" if source.kind == "git" and source.root.startswith("/") else source.root)
    return f"{place}#{source.subdirectory}" if source.subdirectory else place
