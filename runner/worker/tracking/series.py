"""Metrics as lines of a file that only grows: what is known of them is what the file says, whoever wrote it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from runner.worker.files import Json
from runner.worker.tracking.refusal import FULL, Refused
from runner.worker.values import dataclass

_TEXTS = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf}
_LONGEST = 1 << 16  # bytes of a line
_PIECE = 1 << 20


@dataclass(frozen=True)
class Point:
    """One value of a metric."""

    name: str
    value: float
    step: int = 0
    timestamp: int = 0  # ms
    model: str = ""  # the logged model it was measured of
    dataset: tuple[str, str] = ("", "")  # name, digest: what it was measured on

    def to_json(self) -> dict[str, Json]:
        """Return the point as MLflow's `Metric`."""
        data: dict[str, Json] = {
            "key": self.name, "value": written(self.value), "timestamp": self.timestamp, "step": self.step,
        }  # fmt: skip
        extras = zip(("model_id", "dataset_name", "dataset_digest"), (self.model, *self.dataset))
        return {**data, **{name: text for name, text in extras if text}}

    def to_line(self) -> dict[str, Json]:
        """Return the point as metrics.jsonl has it."""
        data = self.to_json()
        return {"name": data.pop("key"), **data}


def written(value: float) -> Json:
    """Return a number as JSON has it: NaN and infinities are text."""
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def number(value: Any) -> float:
    """Return the number that a client sent, also as text; ValueError where it is none."""
    if isinstance(value, str):
        text = value.strip().lower()
        return _TEXTS[text] if text in _TEXTS else float(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(value)  # noqa: TRY004 - what does not fit is one thing to the caller
    try:
        return float(value)
    except OverflowError:
        raise ValueError(value) from None


class Lines:
    """A file of JSON lines, to which each append adds whole lines with one write."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is made by the first append."""
        self.path = path

    def append(self, values: Iterable[Mapping[str, Json]]) -> None:
        """Add lines; Refused where the disk takes no more."""
        data = b"".join(json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n" for value in values)
        if not data:
            return
        try:
            whole = self._write(data)
            reason = "no space left"
        except OSError as error:
            whole, reason = False, error.strerror or str(error)
        if not whole:
            message = f"{self.path} cannot be written: {reason}"
            raise Refused(message, "RESOURCE_EXHAUSTED", FULL)

    def _write(self, data: bytes) -> bool:
        # Opened each time: a run may have thousands of sub-runs, and a process has not as many descriptors.
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size > 0 and os.pread(descriptor, 1, size - 1) != b"\n":  # its writer died, or the disk was full
                data = b"\n" + data
            return os.write(descriptor, data) == len(data)
        finally:
            os.close(descriptor)

    def read(self, start: int = 0) -> Iterator[tuple[bytes, int]]:
        """Return each whole line from an offset on, and where the next begins."""
        try:
            stream = open(self.path, "rb", buffering=_PIECE)  # noqa: SIM115 - held below
        except FileNotFoundError:
            return
        with stream:
            stream.seek(start)
            for line in stream:
                if line.endswith(b"\n"):
                    start += len(line)
                    yield line, start


class Series:
    """The metrics of one run: the last of each are kept in memory, all are in the file."""

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self._lines = Lines(path)
        self._seen = 0  # bytes of the file
        self._last: dict[str, Point] = {}
        self._newest: dict[str, tuple[int, set[tuple[int, str]]]] = {}  # timestamp, and what was logged at it
        self._of_models: dict[tuple[str, str, tuple[str, str]], Point] = {}

    def add(self, points: Iterable[Point]) -> None:
        """Append points."""
        self._lines.append(point.to_line() for point in points)

    def has(self, point: Point) -> bool:
        """Whether a point was logged before: clients send a run's points again to tie them to a model."""
        self._catch_up()
        when, known = self._newest.get(point.name, (-1, set()))
        if point.timestamp >= when:
            return point.timestamp == when and (point.step, repr(point.value)) in known
        wanted = (point.step, point.timestamp, repr(point.value))
        return any((p.step, p.timestamp, repr(p.value)) == wanted for p in self.history(point.name))

    def tie(self, point: Point) -> None:
        """Take note that a point, which was logged before, was measured of a model."""
        _keep(self._of_models, (point.model, point.name, point.dataset), point)

    def last(self) -> dict[str, Point]:
        """Return the value of each metric that counts: of the highest step, and there of the latest time."""
        self._catch_up()
        return self._last

    def of_model(self, model: str) -> list[Point]:
        """Return what was measured of a logged model."""
        self._catch_up()
        return [point for (mine, _, _), point in self._of_models.items() if mine == model]

    def history(self, name: str) -> Iterator[Point]:
        """Return all values of one metric, in the order in which they were logged."""
        wanted = json.dumps(name).encode("ascii")
        for line, _ in self._lines.read():
            if wanted in line or b"\\u" in line or not line.isascii():  # other programs may spell it in another way
                point = read_point(line)
                if point is not None and point.name == name:
                    yield point

    def _catch_up(self) -> None:
        for line, end in self._lines.read(self._seen):
            self._seen = end
            point = read_point(line)
            if point is None:
                continue
            _keep(self._last, point.name, point)
            when, known = self._newest.get(point.name, (-1, set()))
            if point.timestamp > when:
                when, known = self._newest[point.name] = (point.timestamp, set())
            if point.timestamp == when:
                known.add((point.step, repr(point.value)))
            if point.model:
                self.tie(point)


def _keep(known: dict[Any, Point], key: Any, point: Point) -> None:
    before = known.get(key)
    if before is None or (before.step, before.timestamp) <= (point.step, point.timestamp):
        known[key] = point


def read_point(line: bytes) -> Optional[Point]:
    """Return the point of a line; None where other programs wrote what is none."""
    if len(line) > _LONGEST:
        return None
    try:
        return point_of(json.loads(line))
    except (ValueError, RecursionError):
        return None


def point_of(data: Any) -> Optional[Point]:
    """Return the point that a JSON object describes, None where it is none."""
    try:
        name, step, when = data["name"], data.get("step") or 0, data.get("timestamp") or 0
        dataset = (str(data.get("dataset_name", "")), str(data.get("dataset_digest", "")))
        point = Point(name, number(data["value"]), int(step), int(when), str(data.get("model_id", "")), dataset)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    return point if isinstance(name, str) and name else None
