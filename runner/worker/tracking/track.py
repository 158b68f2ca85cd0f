"""What a client logged for one run, apart from metrics: the replay of lines that only ever were appended."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.worker.files import Json
from runner.worker.tracking.described import Described, Line, pairs
from runner.worker.tracking.refusal import Refused
from runner.worker.tracking.registry import Registry
from runner.worker.tracking.series import Lines, Point, Series, point_of
from runner.worker.values import dataclass

VERSION = 1


@dataclass(frozen=True)
class Beginning:
    """What is known of a run before anything is logged for it."""

    id: str  # 32 hex digits
    name: str
    user: str
    start: int  # ms
    params: Mapping[str, str]  # the project's, shown where the client has logged no other value
    tags: Mapping[str, str]


class Track:
    """One run, as a client sees it."""

    def __init__(self, directory: Path, beginning: Beginning) -> None:
        """Replay what is there."""
        self.directory = directory
        self.id = beginning.id
        self.series = Series(directory / "metrics.jsonl")
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = dict(beginning.tags)
        self.models: dict[str, Model] = {}
        self.registry = Registry()  # that of the run itself; those of sub-runs stay empty
        self._given = dict(beginning.params)
        self._lines = Lines(directory / "tracking.jsonl")
        self._info: dict[str, Json] = {
            "run_id": self.id,
            "run_uuid": self.id,
            "run_name": beginning.name,
            "experiment_id": "0",
            "user_id": beginning.user,
            "status": "RUNNING",
            "start_time": beginning.start,
            "artifact_uri": self.artifacts.as_uri(),
            "lifecycle_stage": "active",
        }
        self._datasets: dict[tuple[str, str], Any] = {}
        self._inputs: dict[str, Json] = {}  # models by id
        self._outputs: dict[tuple[str, int], Json] = {}
        for line, _ in self._lines.read():
            with contextlib.suppress(KeyError, TypeError, AttributeError, ValueError):  # changed by hand: passed over
                self._apply(_read(line))

    @property
    def artifacts(self) -> Path:
        """Where its artifacts are written by the client itself."""
        return self.directory / "artifacts"

    def measure(self, points: Sequence[Point]) -> None:
        """Keep values of metrics; of those that a client sends again, only the model they are now tied to."""
        again = [point for point in points if point.model and self.series.has(point)]
        self.series.add(point for point in points if point not in again)
        self.write({"do": "measured", **point.to_line()} for point in again)

    def write(self, lines: Iterable[Line]) -> None:
        """Keep lines: in the file first, then in memory."""
        kept = list(lines)
        self._lines.append(kept)
        for line in kept:
            self._apply(line)

    def check_params(self, params: Iterable[tuple[str, str]]) -> None:
        """Refuse a parameter that was logged before with another value; what the project gave is no promise."""
        seen: dict[str, str] = {}
        for name, value in params:
            before = self.params.get(name, seen.get(name))
            if before is not None and before != value:
                message = (
                    f"Changing param values is not allowed. Param with key='{name}' was already logged with "
                    f"value='{before}' for run ID='{self.id}'. Attempted logging new value '{value}'."
                )
                raise Refused(message)
            seen[name] = value

    @property
    def datasets(self) -> list[Any]:
        """The datasets it reads, as MLflow's `DatasetInput`."""
        return list(self._datasets.values())

    @property
    def info(self) -> dict[str, Json]:
        """The run as MLflow's `RunInfo`."""
        return self._info

    def all_params(self) -> dict[str, str]:
        """Return the project's parameters and what was logged over them."""
        return {**self._given, **self.params}

    def to_json(self) -> dict[str, Json]:
        """Return the run as MLflow's `Run`."""
        return {
            "info": self._info,
            "data": {
                "metrics": [point.to_json() for point in self.series.last().values()],
                "params": pairs(self.all_params()),
                "tags": pairs(self.tags),
            },
            "inputs": {"dataset_inputs": self.datasets, "model_inputs": list(self._inputs.values())},
            "outputs": {"model_outputs": list(self._outputs.values())},
        }

    def _apply(self, line: Line) -> None:
        """Take one line into account; those of a newer version are passed over."""
        kind, name = line.get("do"), str(line.get("name", ""))
        if kind == "param":
            self.params[name] = str(line["value"])
        elif kind == "tag":
            self._tag(name, str(line["value"]))
        elif kind == "untag":
            self.tags.pop(name, None)
        elif kind == "run":
            self._update(line)
        elif kind == "model":
            self._model(line)
        elif kind == "register":
            self.registry.apply(line)
        elif kind == "measured":
            self._tie(line)
        elif kind == "dataset":
            dataset = line["dataset"]["dataset"]
            self._datasets.setdefault((str(dataset.get("name")), str(dataset.get("digest"))), line["dataset"])
        elif kind in ("input", "output"):
            self._connect(line)

    def _connect(self, line: Line) -> None:
        model = line["model"]
        if line["do"] == "input":
            self._inputs[model] = {"model_id": model}
        else:
            self._outputs[model, line["step"]] = {"model_id": model, "step": line["step"]}

    def _tie(self, line: Line) -> None:
        point = point_of(line)
        if point is not None:
            self.series.tie(point)

    def _tag(self, name: str, value: str) -> None:
        self.tags[name] = value
        if name == "mlflow.runName":
            self._info["run_name"] = value

    def _update(self, line: Line) -> None:
        for name in ("status", "end_time", "lifecycle_stage", "run_name", "start_time", "user_id"):
            if name in line:
                self._info[name] = line[name]
        if "run_name" in line:
            self.tags["mlflow.runName"] = str(line["run_name"])

    def _model(self, line: Line) -> None:
        model = self.models.get(line["id"])
        if model is None:
            model = self.models[line["id"]] = Model(line["id"])
        model.update(line)


class Model(Described):
    """A logged model: what the client said of it; its files are a directory of artifacts."""

    def __init__(self, model_id: str) -> None:
        """Know nothing of it yet."""
        super().__init__(model_id=model_id, experiment_id="0")
        self.id = model_id
        self.params: dict[str, str] = {}

    def update(self, line: Line) -> None:
        """Take a line into account."""
        super().update(line)
        self.params.update(line.get("params", {}))

    def to_json(self, measured: Iterable[tuple[str, Point]]) -> dict[str, Json]:
        """Return the model as MLflow's `LoggedModel`, with what was measured of it, and in which run."""
        return {
            "info": {**self.info, "tags": pairs(self.tags)},
            "data": {
                "params": pairs(self.params),
                "metrics": [{**point.to_json(), "run_id": run_id} for run_id, point in measured],
            },
        }


def _read(line: bytes) -> Line:
    """Return a line's value; nothing for one that was cut off when its writer died."""
    try:
        data = json.loads(line)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
