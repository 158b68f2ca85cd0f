"""All runs that the endpoint of one run knows: the run itself, and those that a client makes beside it."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping

from runner.errors import MlrunError
from runner.worker.clock import seconds
from runner.worker.facts import Request
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.tracking.described import Line
from runner.worker.tracking.refusal import Refused, absent
from runner.worker.tracking.series import Point
from runner.worker.tracking.track import VERSION, Beginning, Model, Track

_ID = re.compile(r"[0-9a-f]{32}")


class Runs:
    """The runs, by id. Sub-runs of an earlier server of the same run are found in their directories."""

    def __init__(self, directory: RunDirectory) -> None:
        """Read what the run directory holds."""
        self._directory = directory
        self.experiment = "Default"
        beginning = self._beginning()
        self.main = Track(directory.path, beginning)
        self._tracks = {self.main.id: self.main}
        self._newest = 0  # when the last sub-run was made, in ns: the first half of its id
        for name in sorted(_names(str(directory.children))):
            if _ID.fullmatch(name):
                self._tracks[name] = Track(directory.children / name, Beginning(name, "", "", 0, {}, {}))
                self._newest = int(name[:16], 16)

    def __iter__(self) -> Iterator[Track]:
        """Return the runs, the run itself first."""
        return iter(self._tracks.values())

    def get(self, run_id: object) -> Track:
        """Return a run; Refused where there is none of that id."""
        track = self._tracks.get(run_id) if isinstance(run_id, str) else None
        if track is None:
            raise absent(f"Run with id={run_id}: this endpoint knows the run it belongs to, and its sub-runs. It")
        return track

    def create(self, name: str, user: str, start: int, tags: Mapping[str, str]) -> Track:
        """Make a sub-run."""
        run_id = self._next_id()
        path = self._directory.children / run_id
        try:
            path.mkdir(parents=True)
        except OSError as error:
            message = f"no sub-run can be made: {error.strerror}"
            raise Refused(message, "RESOURCE_EXHAUSTED", 507) from None
        name = name or tags.get("mlflow.runName") or f"run-{run_id[-8:]}"
        track = Track(path, Beginning(run_id, name, user, start, {}, {}))
        start = start or int(time.time() * 1000)
        lines: list[Line] = [
            {"do": "run", "version": VERSION, "run_name": name, "user_id": user, "start_time": start},
            *({"do": "tag", "name": key, "value": value} for key, value in tags.items()),
        ]
        track.write(lines)
        self._tracks[run_id] = track
        return track

    def model(self, model_id: str) -> tuple[Track, Model]:
        """Return a logged model and its run."""
        for track in self:
            model = track.models.get(model_id)
            if model is not None and not model.deleted:
                return track, model
        raise absent(f"Logged model with id={model_id}")

    def measured(self, model_id: str) -> list[tuple[str, Point]]:
        """Return what was measured of a logged model, with the id of the run that did."""
        return [(track.id, point) for track in self for point in track.series.of_model(model_id)]

    def _next_id(self) -> str:
        """Return an id that comes after all others: sub-runs of two runs are compared in the order of their making."""
        self._newest = max(self._newest + 1, time.time_ns())
        return f"{self._newest:016x}{uuid.uuid4().hex[:16]}"

    def _beginning(self) -> Beginning:
        run = self._directory
        run_id = run.id.replace("-", "")
        try:
            request, spec = run.find(Request), run.find(RunSpec)
        except MlrunError:  # damaged: whoever composes the record will say so
            request = spec = None
        params, tags = {}, {"mlflow.source.type": "PROJECT"}
        name, user, start = run_id[-8:], "", int(time.time() * 1000)
        if request is not None:
            name, user, start = request.name or name, request.actor.user, int(seconds(request.created) * 1000)
            self.experiment = request.experiment or self.experiment
            tags.update({"mlflow.source.name": request.uri, "mlflow.user": user, **request.tags})
            if request.parent is not None:
                tags["mlflow.parentRunId"] = request.parent.replace("-", "")
        if spec is not None:
            params = {parameter.name: parameter.raw for parameter in spec.parameters}
            tags["mlflow.project.entryPoint"] = spec.entry_point
            if spec.snapshot.commit is not None:
                tags["mlflow.source.git.commit"] = spec.snapshot.commit
        tags["mlflow.runName"] = name
        return Beginning(run_id, name, user, start, params, tags)


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
