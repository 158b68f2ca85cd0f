"""The metrics a run logged: JSON lines of name, value and step, read from metrics.jsonl into series."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from runner.errors import StoreError
from runner.records.basics import Digest, Number
from runner.records.results import Metrics, Point, Series
from runner.records.scores import Values
from runner.worker.facts import Gap

MOST_POINTS = 10_000  # of one series that a record holds; of a longer one it holds the digest and the extremes
MOST_POINTS_ALTOGETHER = 100_000
_LONGEST_LINE = 1 << 16  # bytes
_PIECE = 1 << 20  # bytes that are read at a time

_TEXTS = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf}


_Read = dict[str, tuple[list[float], list[int | None]]]  # values and steps by name


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
    file: str | None = None
    brief: bool = False  # neither points nor a digest are wanted: the digest is that of nothing
    count: int = 0
    last: float = 0.0
    minimum: float = math.nan
    maximum: float = math.nan
    digest: Any = field(default_factory=hashlib.sha256)
    points: list[tuple[float, int | None]] = field(default_factory=list)

    def add(self, values: Sequence[float], steps: Sequence[int | None]) -> None:
        """Add values, with their steps, that were logged one after the other."""
        room = 0 if self.brief else MOST_POINTS - self.count
        if room > 0:
            self.points += zip(values[:room], steps[:room], strict=True)
        self.count += len(values)
        self.last = values[-1]
        known = [value for value in values if value == value]  # NaN gives way to any number  # noqa: PLR0124
        if known:
            self.minimum = min(known) if math.isnan(self.minimum) else min(self.minimum, *known)
            self.maximum = max(known) if math.isnan(self.maximum) else max(self.maximum, *known)
        if not self.brief:
            lines = [f"{step} {value!r}\n" for step, value in zip(steps, values, strict=True)]
            self.digest.update("".join(lines).encode("ascii"))

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
            points=tuple(Point(number(value), step) for value, step in self.points) if whole else (),
            file=self.file,
        )


def read_metrics(
    path: Path, scores: Mapping[str, Values] | None = None, *, room: int | None = None, brief: bool = False
) -> tuple[Metrics, tuple[Gap, ...]]:
    """Return what a metrics file holds, and ``scores``: what was read from declared files of metrics, by path.

    Lines that are no metrics are left out, and a gap says so. ``room``: how many points the record has left for it;
    ``brief`` leaves the points and digests of all series out: for a look, not for a record that is kept.
    """
    series: dict[str, _Series] = {}
    metrics, gaps = _read_logged(path, series, brief)
    for file, values in (scores or {}).items():
        gaps += _enter(file, values, series, brief)
    finished = _finish(series, 0 if brief else MOST_POINTS_ALTOGETHER if room is None else room)
    return replace(metrics, series=finished), (*gaps, *(() if brief else _left_out(finished)))


def _read_logged(path: Path, series: dict[str, _Series], brief: bool) -> tuple[Metrics, list[Gap]]:
    wrong: list[int] = []
    digest, size, line_number = hashlib.sha256(), 0, 0
    try:
        with path.open("rb") as stream:
            while lines := stream.readlines(_PIECE):
                digest.update(b"".join(lines))
                size += sum(map(len, lines))
                wrong += [line_number + index for index in _take(lines, series, brief)]
                line_number += len(lines)
    except FileNotFoundError:
        return Metrics(), []
    except OSError as error:
        return Metrics(), [Gap("metrics", f"{path.name} cannot be read: {error.strerror}")]
    return Metrics(size=size, digest=Digest(digest.hexdigest())), _gaps(path, wrong)


def _take(lines: list[bytes], series: dict[str, _Series], brief: bool) -> list[int]:
    """Add what lines say to series; return which of them, from 1, are no metrics."""
    wrong: list[int] = []
    read = _plain(lines)
    if read is None:
        read = {}
        for index, found in enumerate(_read_lines(lines), 1):
            if found is None:
                wrong += [index] if lines[index - 1].strip() else []
                continue
            _put(read, found.name, found.value, found.step)
    for name, (values, steps) in read.items():
        known = series.get(name) or series.setdefault(name, _Series(name, brief=brief))
        known.add(values, steps)
    return wrong


def _plain(lines: list[bytes]) -> _Read | None:
    """Return what lines say where all are numbers under a name, which is read in columns; None where they are not."""
    if max(map(len, lines)) > _LONGEST_LINE:
        return None
    try:
        found = json.loads(b"[" + b",".join(lines) + b"]")
        names, numbers = [each["name"] for each in found], [each["value"] for each in found]
        steps = [each.get("step") for each in found]
        values = list(map(float, numbers))
        different = set(names)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    plain = set(map(type, numbers)) <= {float, int} and set(map(type, steps)) <= {int, type(None)}
    if not plain or len(found) != len(lines) or not all(isinstance(name, str) and name for name in different):
        return None
    if len(different) == 1:
        return {names[0]: (values, steps)}
    read: _Read = {}
    for name, value, step in zip(names, values, steps, strict=True):
        _put(read, name, value, step)
    return read


def _put(read: _Read, name: str, value: float, step: int | None) -> None:
    values, steps = read.get(name) or read.setdefault(name, ([], []))
    values.append(value)
    steps.append(step)


def _enter(file: str, values: Values, series: dict[str, _Series], brief: bool) -> list[Gap]:
    """Add the metrics of a declared file; of a name that is taken the first one stands, and a gap says so."""
    gaps = []
    for name, points in values.items():
        before = series.get(name)
        if before is None:
            series[name] = read = _Series(name, file, brief)
            read.add(*zip(*points, strict=True))
        elif before.last != points[-1][0]:
            where = f"in {before.file}" if before.file else "as it was logged"
            gaps.append(
                Gap("metrics", f"{name} is {points[-1][0]!r} in {file}, and {before.last!r} {where}, which counts")
            )
    return gaps


def _finish(series: dict[str, _Series], room: int) -> tuple[Series, ...]:
    finished = []
    for each in series.values():
        finished.append(each.finish(room))
        room -= len(finished[-1].points)
    return tuple(finished)


def _gaps(path: Path, wrong: list[int]) -> list[Gap]:
    if not wrong:
        return []
    lines = f"line {wrong[0]} of {path.name} is" if len(wrong) == 1 else f"{len(wrong)} lines of {path.name} are"
    first = "" if len(wrong) == 1 else f"; the first is line {wrong[0]}"
    return [Gap("metrics", f"{lines} no metric (an object with name, value and step){first}")]


def _left_out(series: tuple[Series, ...]) -> tuple[Gap, ...]:
    long = [each.name for each in series if not each.points]
    if not long:
        return ()
    names = ", ".join(long[:3]) + (" and others" if len(long) > 3 else "")  # noqa: PLR2004 - enough to find the rest
    return (Gap("metrics", f"the values of {names} are too many for the record; `mlrun metrics` has them"),)


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
        return _measured(json.loads(line))
    except (ValueError, RecursionError):
        return None


def _read_lines(lines: list[bytes]) -> Iterable[Measured | None]:
    """Read lines at once, which is three times as fast as one by one; one by one where one of them is no JSON."""
    if max(map(len, lines)) <= _LONGEST_LINE:
        try:
            found = json.loads(b"[" + b",".join(lines) + b"]")
        except (ValueError, RecursionError):
            found = []
        if len(found) == len(lines):
            return map(_measured, found)
    return map(read_line, lines)


def _measured(data: Any) -> Measured | None:
    try:
        name, value, step, timestamp = data["name"], data["value"], data.get("step"), data.get("timestamp")
        if type(value) is not float:
            value = _value(value)
        if step is not None and type(step) is not int:
            step = _step(step)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    if not isinstance(name, str) or not name:
        return None
    return Measured(name, value, step, timestamp if isinstance(timestamp, int) else None)


def logged(path: Path) -> Iterator[Measured]:
    """Return what a metrics file holds, line by line, in the order in which it was logged."""
    try:
        with path.open("rb") as stream:
            while lines := stream.readlines(_PIECE):
                yield from filter(None, _read_lines(lines))
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


def _step(step: object) -> int:
    if isinstance(step, bool) or not isinstance(step, int | float) or step != int(step):
        raise TypeError
    return int(step)
