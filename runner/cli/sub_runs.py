"""Runs that a client made inside a run, as `show` and `list` draw them: under that run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

_MOST = 3  # under one run of a list


def sub_run_rows(children: Sequence[Any], most: int) -> list[tuple[str, str, str]]:
    """Return name, results and parameters of sub-runs, each after the one it is nested in, and deeper."""
    rows = []
    for child, depth in list(_tree(children))[:most]:
        metrics = {series["name"]: series["last"] for series in child["metrics"]["series"]}
        rows.append(("  " * depth + (child["name"] or child["id"]), f"{child['status']}  {_joined(metrics)}".rstrip(),
                     _joined(child["params"])))  # fmt: skip
    if len(children) > most:
        rows.append((f"and {len(children) - most} more", "", ""))
    return rows


def _tree(children: Sequence[Any]) -> Iterator[tuple[Any, int]]:
    known = {child["id"]: child for child in children}
    below: dict[str | None, list[Any]] = {}
    for child in children:
        parent = child["parent"] if child["parent"] in known and child["parent"] != child["id"] else None
        below.setdefault(parent, []).append(child)
    for first in (None, *known):  # then whoever is nested in a circle: a client may say anything
        waiting = [(child, 0) for child in reversed(below.pop(first, []))]
        while waiting:
            child, depth = waiting.pop()
            yield child, depth
            waiting += [(each, depth + 1) for each in reversed(below.pop(child["id"], []))]


def list_rows(sub_runs: Sequence[Mapping[str, Any]], count: int, columns: Sequence[str]) -> Iterator[list[str]]:
    """Return rows of a list for the first sub-runs of a run, and one that says how many more there are."""
    for child in sub_runs[:_MOST]:
        yield [_CELLS.get(column, _value)(child, column) for column in columns]
    if count > _MOST:
        yield [f"  and {count - _MOST} more" if column == columns[0] else "" for column in columns]


def _value(child: Mapping[str, Any], column: str) -> str:
    group, _, name = column.partition(".")
    value = child.get(group, "")
    if name and isinstance(value, Mapping):
        value = value.get(name, "-")
    return _joined(value) if isinstance(value, Mapping) else _number(value)


def _joined(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_number(value)}" for name, value in values.items())


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


_CELLS: Mapping[str, Callable[[Mapping[str, Any], str], str]] = {
    "id": lambda child, _: f"  {child['id'][-8:]}",
    "parent": lambda _, __: "",
}
