"""Files of metrics that a project declares, read after the run: what is a number in JSON, YAML or CSV is a metric."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from runner.errors import MlrunError
from runner.worker.facts import Gap
from runner.worker.globs import matches
from runner.worker.objects import Objects
from runner.worker.results import FileFact

Values = dict[str, list[tuple[float, int | None]]]  # by the metric's name: value and step

LARGEST = 64 << 20  # bytes
LARGEST_YAML = 1 << 20  # it is read a hundred times slower
MOST_VALUES, MOST_NAMES, DEEPEST = 100_000, 10_000, 30
STEPS = ("step", "epoch", "iteration")  # the key of a row that says when it was
_PAIRS = ("name", "metric")
_LOOKED_AT = 10 * MOST_VALUES  # values of any kind: aliases of YAML may stand for billions


def read_scores(
    files: Iterable[FileFact], patterns: Iterable[str], objects: Objects
) -> tuple[dict[str, Values], list[Gap]]:
    """Return the metrics of the declared files that a run wrote, by path; a gap for one that cannot be read."""
    wanted = tuple(patterns)
    scores: dict[str, Values] = {}
    gaps = []
    for fact in files if wanted else ():
        if fact.basis != "logged" and any(matches(pattern, fact.path) for pattern in wanted):
            try:
                scores[fact.path] = parse(fact.path, _bytes(fact, objects))
            except (ValueError, RecursionError, MlrunError) as error:
                reason = getattr(error, "message", None) or str(error) or "it is nested too deep"
                gaps.append(Gap("metrics", f"{fact.path} cannot be read: {reason}"))
    return scores, gaps


def _bytes(fact: FileFact, objects: Objects) -> bytes:
    most = LARGEST_YAML if _suffix(fact.path) in (".yaml", ".yml") else LARGEST
    if fact.size > most:
        message = f"it has {fact.size:,} bytes, and {most:,} are read"
        raise ValueError(message)
    if fact.sha256 is None or not fact.stored:
        message = "it was not stored"
        raise ValueError(message)
    return objects.read(fact.sha256)


def parse(path: str, data: bytes) -> Values:
    """Return the metrics in the bytes of a file; ValueError or RecursionError says why there are none to be had."""
    suffix = _suffix(path)
    collected = _Collected()
    text = data.decode("utf-8-sig")
    if suffix in (".csv", ".tsv"):
        collected.table(text, "\t" if suffix == ".tsv" else ",")
    else:
        collected.tree(_json(text) if suffix == ".json" else _yaml(text), PurePosixPath(path).stem)
    return collected.values


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        message = f"no JSON: {error}"
        raise ValueError(message) from None


def _yaml(text: str) -> Any:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        message = f"no YAML: {' '.join(str(error).split())}"
        raise ValueError(message) from None


class _Collected:
    """The numbers found so far; ValueError where they are more than a record could hold."""

    def __init__(self) -> None:
        self.values: Values = {}
        self._count = 0
        self._looked = 0

    def tree(self, value: Any, stem: str) -> None:
        if _number(value) is not None:
            self._add(stem, value, None)
        self._walk(value, "", None, 0)

    def table(self, text: str, delimiter: str) -> None:
        try:
            rows = list(csv.reader(text.splitlines(), delimiter=delimiter))
        except csv.Error as error:
            message = f"no CSV: {error}"
            raise ValueError(message) from None
        rows = [row for row in rows if any(cell.strip() for cell in row)]
        header = [cell.strip() for cell in rows[0]] if rows else []
        if any(_text_number(cell) is not None for cell in header):
            message = "its first line has to name the columns"
            raise ValueError(message)
        cells = [dict(zip(header, map(_text_number, row), strict=False)) for row in rows[1:]]
        named = next((column for column in header if column.lower() in _PAIRS), None)
        value = next((column for column in header if column.lower() == "value"), None)
        if named is not None and value is not None:
            place = header.index(named)
            for row, numbers in zip(rows[1:], cells, strict=True):
                self._add(row[place].strip() if place < len(row) else "", numbers.get(value), _step(numbers))
        else:
            self._rows(cells, "", 0)

    def _walk(self, value: Any, name: str, step: int | None, depth: int) -> None:
        self._looked += 1
        if self._looked > _LOOKED_AT or depth > DEEPEST:
            message = f"it is nested deeper than {DEEPEST} levels" if depth > DEEPEST else "it holds too much"
            raise ValueError(message)
        if isinstance(value, Mapping):
            for key, item in value.items():
                self._walk(item, f"{name}.{key}" if name else str(key), step, depth + 1)
        elif isinstance(value, list) and step is None:
            if value and all(isinstance(item, Mapping) for item in value):
                self._rows(value, name, depth + 1)
            elif all(_number(item) is not None for item in value):
                for index, item in enumerate(value):
                    self._add(name, item, index)
        else:
            self._add(name, value, step)

    def _rows(self, rows: list[Any], name: str, depth: int) -> None:
        """Rows over time: each key is a metric, and the row's own step, else its place, is the step."""
        for index, row in enumerate(rows):
            step = _step(row)
            at = step if step is not None else index if len(rows) > 1 else None
            said = {key: item for key, item in row.items() if step is None or str(key).lower() not in STEPS}
            self._row(said, name, at, depth)

    def _row(self, row: Mapping[Any, Any], name: str, step: int | None, depth: int) -> None:
        for key, item in row.items():
            if not isinstance(item, list):
                self._walk(item, f"{name}.{key}" if name else str(key), step, depth + 1)

    def _add(self, name: str, value: Any, step: int | None) -> None:
        number = _number(value)
        if number is None or not name:
            return
        self._count += 1
        self.values.setdefault(name, []).append((number, step))
        if self._count > MOST_VALUES or len(self.values) > MOST_NAMES:
            message = f"it has more than {MOST_VALUES:,} numbers, or {MOST_NAMES:,} names of them"
            raise ValueError(message)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _text_number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _step(row: Mapping[Any, Any]) -> int | None:
    """Return the step that a row names, None where it names none."""
    folded = {str(key).lower(): item for key, item in row.items()}
    found = next((folded[key] for key in STEPS if key in folded), None)
    number = _number(found)
    return int(number) if number is not None and number.is_integer() else None
