"""The requests that ask for what is known of runs, their metrics, their artifacts, and the one experiment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from runner.worker.files import Json
from runner.worker.tracking.asked import Asked
from runner.worker.tracking.described import pairs
from runner.worker.tracking.refusal import Refused, unsupported
from runner.worker.tracking.runs import Runs
from runner.worker.tracking.search import sort, suits
from runner.worker.tracking.track import Track

Answer = dict[str, Json]
T = TypeVar("T")

_TAG = "experiment."  # what the tags of the experiment begin with, which are kept with the run
_MOST = 50_000  # items of one page
_STAGES = {"": ("active",), "ACTIVE_ONLY": ("active",), "DELETED_ONLY": ("deleted",), "ALL": ("active", "deleted")}
_VIEWS = {"1": "ACTIVE_ONLY", "2": "DELETED_ONLY", "3": "ALL"}


def get(runs: Runs, asked: Asked) -> Answer:
    """Return one run."""
    return {"run": runs.get(asked.run_id()).to_json()}


def search(runs: Runs, asked: Asked) -> Answer:
    """Return the runs that a filter fits; of whatever experiment: there is one."""
    stages = _STAGES.get(_VIEWS.get(view := asked.text("run_view_type"), view), ("active",))
    found = [track for track in runs if track.info["lifecycle_stage"] in stages]
    found = suits(found, asked.text("filter"), _facts)
    newest = sorted(found, key=lambda track: -int(str(track.info.get("start_time") or 0)))
    page, token = paginate(sort(newest, asked.texts("order_by"), _facts), asked, 1000)
    return {"runs": [track.to_json() for track in page], **token}


def _facts(track: Track, kind: str, name: str) -> Any:
    if kind in ("metrics", "metric"):
        point = track.series.last().get(name)
        return None if point is None else point.value
    if kind in ("params", "parameters", "param", "parameter"):
        return track.all_params().get(name)
    if kind in ("tags", "tag"):
        return track.tags.get(name)
    if kind in ("datasets", "dataset"):
        return [_of_dataset(each, name) for each in track.datasets]
    if kind in ("attributes", "attribute", "attr", "run"):
        name = {"Start Time": "start_time", "Created": "start_time", "created": "start_time"}.get(name, name)
        return track.info.get(name)
    raise Refused(f"Invalid entity type '{kind}': a filter is about metrics, params, tags, attributes or datasets")


def _of_dataset(said: Any, name: str) -> Any:
    if name != "context":
        return said["dataset"].get(name)
    return next((tag.get("value") for tag in said.get("tags") or () if tag.get("key") == "mlflow.data.context"), None)


def paginate(found: Sequence[T], asked: Asked, usual: int) -> tuple[Sequence[T], Answer]:
    """Return a page, and the token of the next one if there is any."""
    size = asked.integer("max_results", usual) or usual
    token = asked.text("page_token") or "0"
    if not 0 < size <= _MOST or not (token.isascii() and token.isdigit()):
        raise Refused(f"Invalid value for max_results or page_token; at most {_MOST} results are given at once")
    start = int(token)
    more: Answer = {"next_page_token": str(start + size)} if start + size < len(found) else {}
    return found[start : start + size], more


def history(runs: Runs, asked: Asked) -> Answer:
    """Return all values of a metric."""
    points = list(runs.get(asked.run_id()).series.history(asked.needed("metric_key")))
    page, token = paginate(points, asked, _MOST) if "max_results" in asked else (points, {})
    return {"metrics": [point.to_json() for point in page], **token}


def histories(runs: Runs, asked: Asked) -> Answer:
    """Return values of a metric of several runs, within an interval of steps."""
    least, most = asked.integer("start_step", -(1 << 62)), asked.integer("end_step", 1 << 62)
    name, size = asked.needed("metric_key"), asked.integer("max_results", 2500)
    found: list[Json] = []
    for run_id in asked.texts("run_ids"):
        points = [point for point in runs.get(run_id).series.history(name) if least <= point.step <= most]
        stride = max(1, -(-len(points) // max(1, size)))
        chosen = points[::stride] if points[::stride][-1:] == points[-1:] else [*points[::stride], points[-1]]
        found += [{**point.to_json(), "run_id": run_id} for point in chosen]
    return {"metrics": found}


def artifacts(runs: Runs, asked: Asked) -> Answer:
    """List a directory of a run's artifacts."""
    track = runs.get(asked.run_id())
    return {"root_uri": track.artifacts.as_uri(), "files": list_files(track.artifacts, asked.text("path"))}


def list_files(root: Path, path: str) -> list[Json]:
    """Return what is directly in a directory below ``root``; Refused where it would be outside."""
    parts = path.strip("/").split("/") if path.strip("/") else []
    if path.startswith("/") or ".." in parts or "\0" in path or "\\" in path:
        raise Refused(f"Invalid path {path!r}: an artifact's path is relative, and has no '..'")
    place = os.path.join(root, *parts)
    if os.path.commonpath([os.path.realpath(place), os.path.realpath(root)]) != os.path.realpath(root):
        raise Refused(f"Invalid path {path!r}: it leads out of the run's artifacts")
    try:
        entries = sorted(os.scandir(place), key=lambda entry: entry.name)
    except OSError:
        return []
    return [_file("/".join([*parts, entry.name]), entry) for entry in entries]


def _file(path: str, entry: os.DirEntry[str]) -> Json:
    if entry.is_dir():
        return {"path": path, "is_dir": True}
    return {"path": path, "is_dir": False, "file_size": entry.stat(follow_symlinks=False).st_size}


def experiment(runs: Runs, asked: Asked) -> Answer:
    """Return the run's experiment, whichever is asked for: a script that sets one goes on in this run."""
    if asked.text("experiment_name"):
        runs.experiment = asked.text("experiment_name")
    return {"experiment": _experiment(runs)}


def create_experiment(runs: Runs, asked: Asked) -> Answer:
    """Answer with the run's experiment."""
    name, tags = asked.needed("name"), asked.pairs("tags")
    runs.experiment = name
    runs.main.write({"do": "tag", "name": _TAG + key, "value": value} for key, value in tags)
    return {"experiment_id": "0"}


def rename_experiment(runs: Runs, asked: Asked) -> Answer:
    """Call the run's experiment by another name."""
    runs.experiment = asked.text("new_name") or runs.experiment
    return {}


def tag_experiment(runs: Runs, asked: Asked) -> Answer:
    """Set a tag of the experiment; it is kept with the run."""
    name, value = asked.pair()
    runs.main.write([{"do": "tag", "name": _TAG + name, "value": value}])
    return {}


def untag_experiment(runs: Runs, asked: Asked) -> Answer:
    """Remove a tag of the experiment; one that is not there is no mistake."""
    runs.main.write([{"do": "untag", "name": _TAG + asked.key()}])
    return {}


def search_experiments(runs: Runs, asked: Asked) -> Answer:
    """Return the one experiment."""
    del asked
    return {"experiments": [_experiment(runs)]}


def delete_experiment(runs: Runs, asked: Asked) -> Answer:
    """Refuse."""
    del runs, asked
    message = "experiments that can be deleted"
    raise unsupported(message)


def _experiment(runs: Runs) -> Json:
    start = runs.main.info["start_time"]
    return {
        "experiment_id": "0",
        "name": runs.experiment,
        "artifact_location": runs.main.artifacts.as_uri(),
        "lifecycle_stage": "active",
        "creation_time": start,
        "last_update_time": start,
        "tags": pairs({name[len(_TAG) :]: text for name, text in runs.main.tags.items() if name.startswith(_TAG)}),
    }
