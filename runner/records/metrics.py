"""The metrics a run logged: JSON lines of name, value and step, read from metrics.jsonl into series."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from runner.errors import StoreError
from runner.records.basics import Digest, Number
from runner.records.results import Metrics, Point, Series
from runner.worker.facts import Gap

MOST_POINTS = 10_000  # of one series that a record holds; of a longer one it holds the digest and the extremes
MOST_POINTS_ALTOGETHER = 100_000
_LONGEST_LINE = 1 << 16  # bytes

_TEXTS = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf}


def number(value: float) -> Number:
    """Return a number as records write it: NaN and infinities are text."""
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def amount(value: Number) -> float:
    """Return the float that a number of a record stands for."""
    return float(value)


@dataclass
class _Series:
    """A series that is being read."""

    name: str
    count: int = 0
    last: float = 0.0
    minimum: float = math.nan
    maximum: float = math.nan
    digest: Any = field(default_factory=hashlib.sha256)
    points: list[Point] = field(default_factory=list)

    def add(self, value: float, step: int | None) -> None:
        self.count += 1
        self.last = value
        if not value >= self.minimum:  # NaN gives way to any number
            self.minimum = value if not math.isnan(value) else self.minimum
        if not value <= self.maximum:
            self.maximum = value if not math.isnan(value) else self.maximum
        self.digest.update(f"{step} {value!r}\n".encode("ascii"))
        if self.count <= MOST_POINTS:
            self.points.append(Point(number(value), step))

    def finish(self, room: int) -> Series:
        """Return the series; its points where all of them are had and ``room`` is left for them."""
        whole = self.count <= min(MOST_POINTS, room)
        return Series(
            name=self.name,
            count=self.count,
            last=number(self.last),
            minimum=number(self.minimum),
            maximum=number(self.maximum),
            digest=Digest(self.digest.hexdigest()),
            points=tuple(self.points) if whole else (),
        )


def read_metrics(path: Path, room: int | None = None) -> tuple[Metrics, tuple[Gap, ...]]:
    """Return what a metrics file holds; lines that are no metrics are left out, and a gap says so.

    ``room``: how many points the record has left for it.
    """
    series: dict[str, _Series] = {}
    wrong: list[int] = []
    digest, size, line_number = hashlib.sha256(), 0, 0
    try:
        with path.open("rb") as stream:
            for line_number, line in enumerate(stream, 1):
                digest.update(line)
                size += len(line)
                found = read_line(line)
                if found is not None:
                    series.setdefault(found.name, _Series(found.name)).add(found.value, found.step)
                elif line.strip():
                    wrong.append(line_number)
    except FileNotFoundError:
        return Metrics(), ()
    except OSError as error:
        return Metrics(), (Gap("metrics", f"{path.name} cannot be read: {error.strerror}"),)
    finished = _finish(series, MOST_POINTS_ALTOGETHER if room is None else room)
    return Metrics(finished, size, Digest(digest.hexdigest())), (*_gaps(path, wrong), *_left_out(finished))


def _finish(series: dict[str, _Series], room: int) -> tuple[Series, ...]:
    finished = []
    for each in series.values():
        finished.append(each.finish(room))
        room -= len(finished[-1].points)
    return tuple(finished)


def _gaps(path: Path, wrong: list[int]) -> tuple[Gap, ...]:
    if not wrong:
        return ()
    lines = f"line {wrong[0]} of {path.name} is" if len(wrong) == 1 else f"{len(wrong)} lines of {path.name} are"
    first = "" if len(wrong) == 1 else f"; the first is line {wrong[0]}"
    return (Gap("metrics", f"{lines} no metric (an object with name, value and step){first}"),)


def _left_out(series: tuple[Series, ...]) -> tuple[Gap, ...]:
    long = [each.name for each in series if not each.points]
    if not long:
        return ()
    names = ", ".join(long[:3]) + (" and others" if len(long) > 3 else "")  # noqa: PLR2004 - enough to find the rest
    return (Gap("metrics", f"the values of {names} are too many for the record; metrics.jsonl has them"),)


class Measured(NamedTuple):
    """One line of metrics.jsonl."""

    name: str
    value: float
    step: int | None
    timestamp: int | None  # ms


def read_line(line: bytes) -> Measured | None:
    """Return what a line says, None for what is no metric."""
    if len(line) > _LONGEST_LINE:
        return None
    try:
        data = json.loads(line)
        name, value, step = data["name"], _value(data["value"]), _step(data.get("step"))
        timestamp = data.get("timestamp")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    if not isinstance(name, str) or not name:
        return None
    return Measured(name, value, step, timestamp if isinstance(timestamp, int) else None)


def logged(path: Path) -> Iterator[Measured]:
    """Return what a metrics file holds, line by line, in the order in which it was logged."""
    try:
        with path.open("rb", buffering=1 << 20) as stream:
            yield from filter(None, map(read_line, stream))
    except FileNotFoundError:
        return
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise StoreError(message, hint="look at the permissions of the store") from None


def _value(value: object) -> float:
    if isinstance(value, str):
        return _TEXTS[value.lower().removeprefix("+")]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _step(step: object) -> int | None:
    if step is None:
        return None
    if isinstance(step, bool) or not isinstance(step, int | float) or step != int(step):
        raise TypeError
    return int(step)
