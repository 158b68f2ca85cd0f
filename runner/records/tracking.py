"""What a run's command logged through MLflow's client, apart from metrics: parameters, tags, sub-runs, models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from runner.worker.facts import Gap
from runner.worker.rundir import RunDirectory
from runner.worker.values import dataclass

if TYPE_CHECKING:
    from runner.worker.tracking.track import Model


@dataclass(frozen=True)
class LoggedModel:
    """A model that was logged, and where its files are: relative to the run directory, else a URI."""

    id: str
    name: str
    path: str
    status: str = ""


@dataclass(frozen=True)
class Tracking:
    """What was logged. Metrics are with the others, artifacts lie in the run directory."""

    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    children: tuple[str, ...] = ()  # sub-runs that the client made, by their ids
    models: tuple[LoggedModel, ...] = ()


def read_tracking(run: RunDirectory) -> tuple[Tracking | None, tuple[Gap, ...]]:
    """Return what was logged, None where nothing was; a gap where it cannot be read."""
    try:
        children = tuple(sorted(path.name for path in run.children.iterdir())) if run.children.exists() else ()
        if not children and not run.tracking.exists():
            return None, ()
        from runner.worker.tracking.track import Beginning, Track

        track = Track(run.path, Beginning(run.id, "", "", 0, {}, {}))
    except OSError as error:
        return None, (Gap("tracking", f"{run.tracking.name} cannot be read: {error.strerror}"),)
    models = tuple(_model(run.path, model) for model in track.models.values() if not model.deleted)
    return Tracking(track.params, track.tags, children, models), ()


def _model(directory: Path, model: Model) -> LoggedModel:
    info = {name: str(value) for name, value in model.info.items()}
    place = info.get("artifact_uri", "")
    inside = directory.as_uri() + "/"
    path = unquote(place[len(inside) :]) if place.startswith(inside) else place
    return LoggedModel(
        model.id, info.get("name", ""), path, info.get("status", "").replace("LOGGED_MODEL_", "").lower()
    )
