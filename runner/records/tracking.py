"""What a run's command logged through MLflow's client, apart from metrics: parameters, tags, sub-runs, models, data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from runner.records.clean import clean_text
from runner.records.metrics import MOST_POINTS_ALTOGETHER, read_metrics
from runner.records.results import Metrics
from runner.worker.clock import stamp
from runner.worker.facts import Gap
from runner.worker.rundir import RunDirectory
from runner.worker.values import dataclass

if TYPE_CHECKING:
    from runner.worker.tracking.registry import Version
    from runner.worker.tracking.track import Model, Track

_UNFINISHED = "unfinished"  # of a sub-run whose end was never said, after the end of the run
_PARENT = "mlflow.parentRunId"
_CONTEXT = "mlflow.data.context"
_LONGEST_SOURCE = 4096  # characters of a dataset's source: an inline one may hold all of its data


@dataclass(frozen=True)
class LoggedModel:
    """A model that was logged, and where its files are: relative to the run directory, else a URI."""

    id: str
    name: str
    path: str
    status: str = ""


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model, and where its files are: relative to the run directory, else a URI."""

    version: str  # counted within the run
    path: str
    stage: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RegisteredModel:
    """A name that the command registered models under, in the registry of the run."""

    name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)  # to a version
    versions: tuple[ModelVersion, ...] = ()


@dataclass(frozen=True)
class LoggedDataset:
    """A dataset that the command said it reads, in MLflow's words; the digest is MLflow's own."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    context: str = ""  # training, evaluation, ...


@dataclass(frozen=True)
class SubRun:
    """A run that the client made by itself. Its artifacts are outputs of the run."""

    id: str
    name: str = ""
    status: str = ""  # running, finished, failed, killed, scheduled, unfinished, deleted
    started: str | None = None
    ended: str | None = None
    parent: str | None = None  # the sub-run that it is nested in; none: the run itself
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Metrics = Metrics()
    models: tuple[LoggedModel, ...] = ()
    datasets: tuple[LoggedDataset, ...] = ()


@dataclass(frozen=True)
class Tracking:
    """What was logged. Metrics and artifacts are with the others."""

    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    children: tuple[SubRun, ...] = ()  # in the order in which they were made
    models: tuple[LoggedModel, ...] = ()
    datasets: tuple[LoggedDataset, ...] = ()
    registered: tuple[RegisteredModel, ...] = ()


def read_tracking(
    run: RunDirectory, *, ended: bool = True, room: int = MOST_POINTS_ALTOGETHER
) -> tuple[Tracking | None, tuple[Gap, ...]]:
    """Return what was logged, None where nothing was; a gap where it cannot be read.

    ``room``: how many points of metrics the record has left for its sub-runs.
    """
    gaps: list[Gap] = []
    try:
        names = sorted(path.name for path in run.children.iterdir() if path.is_dir()) if run.children.exists() else []
        if not names and not run.tracking.exists():
            return None, ()
        track = replay(run.path, run.id)
    except OSError as error:
        return None, (Gap("tracking", f"{run.tracking.name} cannot be read: {error.strerror}"),)
    children = []
    for name in names:
        try:
            child = _child(run.path, run.children / name, ended, room, gaps)
        except OSError as error:
            gaps.append(Gap("tracking", f"sub-run {name} cannot be read: {error.strerror}"))
            continue
        room -= sum(len(series.points) for series in child.metrics.series)
        children.append(child)
    models, datasets, registered = _models(run.path, track), _datasets(track), _registered(run.path, track)
    return Tracking(track.params, track.tags, tuple(children), models, datasets, registered), tuple(gaps)


def replay(directory: Path, identity: str) -> Track:
    """Return a run, or a sub-run, as its client saw it last."""
    from runner.worker.tracking.track import Beginning, Track

    return Track(directory, Beginning(identity, "", "", 0, {}, {}))


def _child(run: Path, directory: Path, ended: bool, room: int, gaps: list[Gap]) -> SubRun:
    track = replay(directory, directory.name)
    info = track.info
    metrics, more = read_metrics(directory / "metrics.jsonl", room=room)
    gaps += (Gap("tracking", f"sub-run {directory.name}: {gap.reason}") for gap in more)
    parent = track.tags.get(_PARENT)
    return SubRun(
        id=directory.name,
        name=str(info["run_name"]),
        status=_status(str(info["status"]).lower(), str(info["lifecycle_stage"]), ended),
        started=_moment(info.get("start_time")),
        ended=_moment(info.get("end_time")),
        parent=parent if parent is not None and parent != run.name.replace("-", "") else None,
        params=track.params,
        tags=track.tags,
        metrics=metrics,
        models=_models(run, track),
        datasets=_datasets(track),
    )


def _status(said: str, stage: str, ended: bool) -> str:
    if stage == "deleted":
        return stage
    return _UNFINISHED if ended and said == "running" else said


def _moment(milliseconds: object) -> str | None:
    try:
        return stamp(milliseconds / 1000) if isinstance(milliseconds, int) and milliseconds > 0 else None
    except (ValueError, OverflowError, OSError):  # a client may say anything
        return None


def _models(run: Path, track: Track) -> tuple[LoggedModel, ...]:
    return tuple(_model(run, model) for model in track.models.values() if not model.deleted)


def _model(directory: Path, model: Model) -> LoggedModel:
    info = {name: str(value) for name, value in model.info.items()}
    path = _path(directory, info.get("artifact_uri", ""))
    return LoggedModel(
        str(model.id), info.get("name", ""), path, info.get("status", "").replace("LOGGED_MODEL_", "").lower()
    )


def _path(run: Path, uri: str) -> str:
    """Return a path relative to the run directory, which lay at another place where the run was elsewhere; or a URI."""
    _, inside, path = uri.partition(f"/{run.name}/") if uri.startswith("file:") else ("", "", "")
    return unquote(path) if inside else uri


def _registered(directory: Path, track: Track) -> tuple[RegisteredModel, ...]:
    return tuple(
        RegisteredModel(
            name=model.name,
            description=str(model.info.get("description", "")),
            tags=_texts(model.tags),
            aliases=_texts(model.aliases),
            versions=tuple(_version(directory, version) for version in model.versions),
        )
        for model in track.registry.models.values()
    )


def _version(directory: Path, version: Version) -> ModelVersion:
    return ModelVersion(
        version=version.number,
        path=_path(directory, str(version.info.get("place", ""))),
        stage="" if version.stage == "None" else version.stage,
        description=str(version.info.get("description", "")),
        tags=_texts(version.tags),
    )


def _texts(values: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in values.items()}


def _datasets(track: Track) -> tuple[LoggedDataset, ...]:
    return tuple(_dataset(each) for each in track.datasets)


def _dataset(said: Mapping[str, Any]) -> LoggedDataset:
    words = {name: value for name, value in said["dataset"].items() if isinstance(value, str)}
    tags = said.get("tags")
    pairs = [tag for tag in tags if isinstance(tag, dict)] if isinstance(tags, list) else []
    context = next((tag.get("value") for tag in pairs if tag.get("key") == _CONTEXT), "")
    return LoggedDataset(
        name=words.get("name", ""),
        digest=words.get("digest", ""),
        source_type=words.get("source_type", ""),
        source=clean_text(words.get("source", ""))[:_LONGEST_SOURCE],
        context=str(context or ""),
    )
