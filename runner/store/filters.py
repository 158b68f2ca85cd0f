"""Which runs are wanted and in which order: what is asked of the index, as parts of its statements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from runner.errors import UsageError
from runner.store.keys import GROUPS, key, number, value_key
from runner.worker.values import dataclass

if TYPE_CHECKING:
    from runner.store.expression import Expression

_TEXTS = ("name", "project", "entry_point", "status")
_AMOUNTS = ("created", "started", "ended", "duration")
SORTS = (*_AMOUNTS, *_TEXTS, *(f"{group}.NAME" for group in GROUPS))


@dataclass(frozen=True)
class Filter:
    """Which runs are wanted: those for which all that is given is true."""

    project: str | None = None
    entry_point: str | None = None
    status: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)  # raw text, or the same number written otherwise
    tags: Mapping[str, str] = field(default_factory=dict)
    since: str | None = None  # a moment as records have it: made then or later
    until: str | None = None  # made before
    where: Expression | None = None


def conditions(wanted: Filter, *, few: bool) -> tuple[list[str], list[object]]:
    """Return what has to be true of the rows `r` of the table run, and the values; ``few``: as for `where`."""
    parts: list[str] = []
    values: list[object] = []
    for column, value in (("project", wanted.project), ("entry_point", wanted.entry_point)):
        if value is not None:
            parts.append(f"r.{column} = ?")
            values.append(key(value))
    for condition, text in (("status =", wanted.status), ("created >=", wanted.since), ("created <", wanted.until)):
        if text is not None:
            parts.append(f"r.{condition} ?")
            values.append(text)
    for kind, pairs in (("param", wanted.params), ("tag", wanted.tags)):
        for name, value in pairs.items():
            parts.append("r.id IN (SELECT run FROM label WHERE kind = ? AND name = ? AND (value = ? OR number = ?))")
            values += [kind, key(name), value_key(value), number(value) if kind == "param" else None]
    if wanted.where is not None:
        from runner.store import where

        sql, more = where.conditions(wanted.where, few=few)
        parts.append(sql)
        values += more
    return parts, values


def order(sort: str, reverse: bool) -> tuple[str, str, tuple[object, ...]]:
    """Return a join, an ORDER BY and the join's values; UsageError for a key that is none."""
    group, _, name = sort.partition(".")
    if sort in _AMOUNTS:
        way = "ASC" if reverse else "DESC"
        # Every run was created: without the question sqlite walks its index instead of sorting all runs.
        first = "" if sort == "created" else f"r.{sort} IS NULL, "
        return "", f"{first}r.{sort} {way}, r.id {way}", ()
    if sort in _TEXTS:
        return "", f"r.{sort} IN ('', x''), r.{sort} {'DESC' if reverse else 'ASC'}, r.created DESC, r.id DESC", ()
    if group in GROUPS and name:
        way = "ASC" if reverse == (group == "metrics") else "DESC"
        join = "LEFT JOIN label l INDEXED BY label_run ON l.run = r.id AND l.kind = ? AND l.name = ?"
        keys = f"l.run IS NULL, l.number IS NULL, l.number {way}, l.value {way}, r.created DESC, r.id DESC"
        return join, keys, (GROUPS[group], key(name))
    message = f"runs cannot be sorted by {sort!r}"
    raise UsageError(message, hint=f"known are {', '.join(SORTS)}")
