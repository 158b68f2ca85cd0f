"""Brings a run to a server, as far as its files go by now: called again and again while it goes on, and at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.publishing import content, models
from runner.publishing.artifacts import upload_all
from runner.publishing.lines import Said, Values, new_lines, said_of
from runner.publishing.published import Published, Refusal, Shelf
from runner.publishing.registrations import MODEL, register_all
from runner.publishing.server import RejectedError, Server
from runner.records.tracking import replay
from runner.worker.clock import now
from runner.worker.facts import Request
from runner.worker.rundir import RunDirectory

_MOST_METRICS, _MOST_PAIRS = 1000, 100  # in one batch: MLflow's own limits
_EVERY = 1.0  # seconds between two notes of artifacts
_MOST_REFUSED = 50  # refusals that are kept
_TAG_OF_RUN = "tags.`{}` = '{}'"
PARENT = "mlflow.parentRunId"  # it names the server's run, not ours
_MISSING, _EXISTS = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"


class Forward:
    """One run, or one sub-run of a client's, on its way to one server. Whatever came there is not sent again."""

    def __init__(self, run: RunDirectory, server: Server, shelf: Shelf, child: Path | None = None) -> None:
        """Read how far it came; nothing is sent yet. ``child`` is the directory of a sub-run."""
        self._run, self._server, self._shelf = run, server, shelf
        self._directory = run.path if child is None else child
        self._identity = self._directory.name
        self._child = child
        self.state = shelf.find(self._identity)
        self._values: Values | None = None
        self._noted = 0.0

    @property
    def parent(self) -> str:
        """The id that a sub-run's parent has here; "" where it says none."""
        lines, _ = new_lines(self._directory / "tracking.jsonl", 0)
        return next((said.tags[PARENT] for said in said_of(lines) if PARENT in said.tags), "")

    def step(self, parent: str = "") -> bool:
        """Send what is new; whether there was anything. PublishError where the server does not take it."""
        state = self.state or self._begin(parent)
        if not state.begun:
            self._send_pairs("params", {} if self._child else content.params(self._run))
            self._keep(begun=True)
        moved = self._send_tracking()
        return self._send_metrics() or moved or not state.begun

    def end(self, record: Any) -> None:
        """Send what is left of an ended run: metrics of declared files, artifacts, how it ended, what it registered."""
        while self.step():
            pass
        assert self.state is not None
        if self._child is None and not self.state.scores:
            self._send_scores(record)
            self._keep(scores=True)
        status, moment = content.status(record, self._identity)
        self._make_models(record)
        upload_all(self._server, self._directory / "artifacts", self.state, self._kept_artifact, self._refuse)
        if self.state.status != status:
            self._post("runs/update", status=status, end_time=moment)
            self._keep(status=status)
        self._finish_models(record)
        if self._child is None and not self.state.registered:
            self._register(record)
        self._keep(complete=True)

    def _begin(self, parent: str) -> Published:
        experiment = self._experiment() if not parent else self._experiment_of(parent)
        identity = self._identity
        wanted = _TAG_OF_RUN.format(content.IDENTITY, identity)
        asked = {"experiment_ids": [experiment], "filter": wanted, "max_results": 1}
        found = self._server.post("runs/search", **asked).get("runs")
        creation = {"experiment_id": experiment, **self._creation(parent)}
        made = found[0] if found else self._server.post("runs/create", **creation)["run"]
        self.state = Published(self._server.uri, experiment, str(made["info"]["run_id"]), now())
        self._shelf.keep(identity, self.state)
        return self.state

    def _creation(self, parent: str) -> dict[str, Any]:
        creation = content.creation(self._run)
        nesting = content.pairs({PARENT: parent} if parent else {}, content.LONGEST_TAG)
        if self._child is None:
            return {**creation, "tags": [*creation["tags"], *nesting]}
        own = content.pairs({content.IDENTITY: self._identity}, content.LONGEST_TAG)
        return {**creation, "run_name": self._identity[-8:], "tags": [*own, *nesting]}

    def _experiment(self) -> str:
        request = self._run.read(Request)
        name = request.experiment
        if request.experiment_id is not None:
            return request.experiment_id
        if not name:
            return "0"
        for _attempt in range(2):
            try:
                found = self._server.get("experiments/get-by-name", experiment_name=name)["experiment"]
            except RejectedError as error:
                if error.code != _MISSING:
                    raise
            else:
                return str(found["experiment_id"])
            try:
                return str(self._server.post("experiments/create", name=name)["experiment_id"])
            except RejectedError as error:
                if error.code != _EXISTS:  # another process was first
                    raise
        message = f"the experiment {name!r} was deleted on {self._server.uri}"
        raise RejectedError(message, _MISSING, 404, hint="restore it there, or name another --experiment-name")

    def _experiment_of(self, parent: str) -> str:
        return str(self._server.get("runs/get", run_id=parent)["run"]["info"]["experiment_id"])

    def _send_tracking(self) -> bool:
        assert self.state is not None
        lines, end = new_lines(self._directory / "tracking.jsonl", self.state.tracking)
        for said in said_of(lines):
            self._send_said(said)
        if end != self.state.tracking:
            self._keep(tracking=end)
        return bool(lines)

    def _send_said(self, said: Said) -> None:
        self._send_pairs("params", said.params)
        self._send_pairs("tags", {name: text for name, text in said.tags.items() if name != PARENT})
        for name in said.removed:
            self._attempt(f"the tag {name}", "runs/delete-tag", key=name)
        if said.name:
            self._attempt("the name", "runs/update", run_name=said.name)
        for dataset in said.datasets:
            self._attempt("a dataset", "runs/log-inputs", datasets=[dataset])

    def _send_pairs(self, kind: str, values: dict[str, str]) -> None:
        longest = content.LONGEST_PARAM if kind == "params" else content.LONGEST_TAG
        rows = content.pairs(values, longest)
        for first in range(0, len(rows), _MOST_PAIRS):
            self._send_batch(kind, rows[first : first + _MOST_PAIRS])

    def _send_metrics(self) -> bool:
        """Send the next values; those that name no step are counted, those without a time get the run's."""
        assert self.state is not None
        path = self._directory / "metrics.jsonl"
        if self._values is None:
            self._values = Values(path, self.state.metrics, content.milliseconds(self._run.read(Request).created))
        rows, end = self._values.following(_MOST_METRICS)
        if end == self.state.metrics:
            return False
        self._send_batch("metrics", rows)
        self._keep(metrics=end)
        return True

    def _send_scores(self, record: Any) -> None:
        ended = content.milliseconds(record["run"]["ended"]) if record["run"]["ended"] else 0
        for series in record["metrics"]["series"]:
            if series.get("file"):
                rows = [
                    {"key": series["name"], "value": point["value"], "timestamp": ended, "step": point["step"] or 0}
                    for point in series["points"]
                ]
                for first in range(0, len(rows), _MOST_METRICS):
                    self._send_batch("metrics", rows[first : first + _MOST_METRICS])

    def _make_models(self, record: Any) -> None:
        """Make its logged models; where the server has no such, their files are artifacts of the run."""
        assert self.state is not None
        places = {} if self.state.artifacts else content.models(record, self._identity)
        track = replay(self._directory, self._identity) if places else None
        for identity, place in places.items():
            if track is None or place in self.state.models:
                continue
            try:
                there = models.make(self._server, self.state, track.models[identity])
            except RejectedError as error:
                if not models.has_models(error):
                    return
                self._refuse(f"{models.MODEL}{place}", error.message)
                continue
            self._keep(models={**self.state.models, place: there})

    def _finish_models(self, record: Any) -> None:
        assert self.state is not None
        if self.state.modeled or not self.state.models:
            return
        track = replay(self._directory, self._identity)
        for identity, place in content.models(record, self._identity).items():
            if place in self.state.models:
                try:
                    models.finish(self._server, self.state, track, track.models[identity], self.state.models[place])
                except RejectedError as error:
                    self._refuse(f"{models.MODEL}{place}", error.message)
        self._keep(modeled=True)

    def _register(self, record: Any) -> None:
        """Register the models; where one is refused, the next attempt begins anew."""
        assert self.state is not None
        self._keep(refused=tuple(each for each in self.state.refused if not each.what.startswith(MODEL)))
        before = len(self.state.refused)
        register_all(self._server, self._shelf, record, self._refuse)
        self._keep(registered=len(self.state.refused) == before)

    def _send_batch(self, kind: str, rows: Sequence[Any]) -> None:
        """Send rows together; where the server wants one of them not, the others still come."""
        if not rows:
            return
        try:
            self._post("runs/log-batch", **{kind: list(rows)})
        except RejectedError as error:
            if error.status in (401, 403) or error.code == _MISSING:
                raise
            if len(rows) == 1:
                self._refuse(f"{kind} {rows[0]['key']}", error.message)
                return
            half = len(rows) // 2
            self._send_batch(kind, rows[:half])
            self._send_batch(kind, rows[half:])

    def _attempt(self, what: str, path: str, **body: Any) -> None:
        try:
            self._post(path, **body)
        except RejectedError as error:
            if error.status in (401, 403) or error.code == _MISSING:
                raise
            self._refuse(what, error.message)

    def _post(self, path: str, **body: Any) -> None:
        assert self.state is not None
        self._server.post(path, run_id=self.state.run_id, **body)

    def _refuse(self, what: str, reason: str) -> None:
        assert self.state is not None
        said = Refusal(what, reason)
        if len(self.state.refused) < _MOST_REFUSED and said not in self.state.refused:
            self._keep(refused=(*self.state.refused, said))

    def _kept_artifact(self, path: str) -> None:
        """Note an artifact; not each by itself on the disk, for one that is sent again does no harm."""
        assert self.state is not None
        self.state = replace(self.state, artifacts=path)
        if time.monotonic() - self._noted > _EVERY:
            self._keep(artifacts=path)
            self._noted = time.monotonic()

    def _keep(self, **changes: Any) -> None:
        assert self.state is not None
        self.state = replace(self.state, **changes)
        self._shelf.keep(self._identity, self.state)


def children(run: RunDirectory) -> list[Path]:
    """Return the directories of the sub-runs that a client made, in the order of their ids."""
    return sorted(path for path in run.children.glob("*") if path.is_dir())
