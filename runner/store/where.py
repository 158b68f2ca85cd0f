"""A condition on runs, from its tree to SQL over the index: no run directory is opened for an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import NoReturn

from runner.errors import UsageError
from runner.store.expression import Comparison, Condition, Expression, Literal, Negation
from runner.store.keys import GROUPS, key, value_key
from runner.store.moments import moment

Part = tuple[str, list[object]]  # SQL with its values

_TEXTS = {"name": True, "project": True, "entry_point": True, "host": True, "why": True, "id": False,
          "status": False, "reason": False, "rerun_of": False, "parent": False}  # fmt: skip
_NUMBERS, _TIMES = ("duration", "exit_code"), ("created", "started", "ended")
_OTHERS = {"run_id": "id", "run_name": "name", "start_time": "started", "end_time": "ended"}  # as MLflow calls them
_KNOWN = f"known are {', '.join((*_TEXTS, *_NUMBERS, *_TIMES))}, and metrics.NAME, params.NAME, tags.NAME"
_LONG = "length(value) = 71 AND substr(value, 1, 7) = x'7368613235363a'"  # in place of the value stands its digest


def conditions(expression: Expression, *, few: bool = False) -> Part:
    """Return the SQL of a condition on the rows `r` of the table run; UsageError for what cannot be compared so.

    With ``few`` the values of each row are looked at, else all the values first, and then the runs that have them.
    """
    return _Writer(expression, few).write(expression.condition)


class _Writer:
    def __init__(self, expression: Expression, few: bool) -> None:
        self._expression = expression
        self._having = (
            "EXISTS (SELECT 1 FROM label INDEXED BY label_run WHERE run = r.id AND"
            if few
            else "r.id IN (SELECT run FROM label WHERE"
        )

    def write(self, condition: Condition) -> Part:
        if isinstance(condition, Comparison):
            return self._label(condition) if condition.group else self._attribute(condition)
        if isinstance(condition, Negation):
            sql, values = self.write(condition.of)
            return f"NOT {sql}", values
        parts = [self.write(part) for part in condition.parts]
        return f"({f' {condition.word.upper()} '.join(sql for sql, _ in parts)})", [v for _, vs in parts for v in vs]

    def _label(self, asked: Comparison) -> Part:
        kind: list[object] = [GROUPS[asked.group], key(asked.name)]
        if asked.sign in ("like", "ilike"):
            return self._like_label(asked, kind)
        sql, values = self._amount(asked) if self._is_number(asked) else self._text(asked)
        return f"{self._having} kind = ? AND name = ? AND {sql})", [*kind, *values]

    def _is_number(self, asked: Comparison) -> bool:
        numbers = [isinstance(value, float) for value in asked.values]
        if any(numbers) and not all(numbers):
            self._refuse(asked, "numbers and texts stand in one list")
        if asked.group == "metrics" and asked.values and not all(numbers):
            self._refuse(asked, f"a metric is a number, and {asked.values[0]!r} is a text", "leave the quotes out")
        return all(numbers) and bool(asked.values)

    def _amount(self, asked: Comparison) -> Part:
        if any(isinstance(value, float) and math.isnan(value) for value in asked.values):
            if asked.sign not in ("=", "!="):
                self._refuse(asked, "NaN is compared with = and != alone")
            return f"(lower(CAST(value AS TEXT)) {asked.sign} 'nan')", []
        return _compared("number", asked.sign, asked.values)

    def _text(self, asked: Comparison) -> Part:
        self._check_text(asked)
        return _compared("value", asked.sign, [value_key(str(value)) for value in asked.values])

    def _check_text(self, asked: Comparison) -> None:
        if asked.sign in ("<", "<=", ">", ">="):
            hint = "write a number without quotes; texts are compared with =, !=, like, ilike and in"
            self._refuse(asked, f"a text has no order that {asked.sign} could ask for", hint)

    def _like_label(self, asked: Comparison, kind: list[object]) -> Part:
        if asked.group == "metrics":
            self._refuse(asked, f"a metric is a number, and {asked.sign} is for texts")
        like, pattern = _like(asked)
        rows = f"{self._having} kind = ? AND name = ? AND"
        whole = "(SELECT value FROM json_each(r.summary, ?) WHERE key = ?)"
        sql = f"({rows} NOT ({_LONG}) AND CAST(value AS TEXT) {like} ?) OR ({rows} {_LONG}) AND {whole} {like} ?))"
        return sql, [*kind, pattern, *kind, f"$.{asked.group}", asked.name, pattern]

    def _attribute(self, asked: Comparison) -> Part:
        name = _OTHERS.get(asked.name, asked.name)
        if name in _TEXTS:
            return self._text_attribute(asked, name)
        if name not in _NUMBERS and name not in _TIMES:
            self._refuse(asked, f"runs have no {asked.name!r}", _KNOWN)
        if asked.sign in ("like", "ilike"):
            self._refuse(asked, f"{name} is no text, and {asked.sign} is for texts")
        if name in _TIMES:
            return _stated(*_compared(f"r.{name}", asked.sign, [self._time(asked, value) for value in asked.values]))
        if any(isinstance(value, str) for value in asked.values):
            self._refuse(asked, f"{name} is a number", "leave the quotes out")
        return _stated(*_compared(f"r.{name}", asked.sign, asked.values))

    def _text_attribute(self, asked: Comparison, name: str) -> Part:
        if any(isinstance(value, float) for value in asked.values):
            self._refuse(asked, f"{name} is a text", "put the value in quotes")
        column = f"CAST(r.{name} AS TEXT)" if _TEXTS[name] else f"r.{name}"
        if asked.sign in ("like", "ilike"):
            like, pattern = _like(asked)
            return f"coalesce({column} {like} ?, 0)", [pattern]
        self._check_text(asked)
        if asked.sign == "null":
            return f"(coalesce({column}, '') != '')", []
        values = [key(str(value)) if _TEXTS[name] else str(value) for value in asked.values]
        return _stated(*_compared(f"r.{name}", asked.sign, values))

    def _time(self, asked: Comparison, value: Literal) -> str:
        if isinstance(value, str):
            try:
                return moment(value)
            except UsageError as error:
                self._refuse(asked, error.message, error.hint)
        try:
            then = datetime.fromtimestamp(value / 1000, timezone.utc)
        except (ValueError, OverflowError, OSError):
            self._refuse(asked, f"{value:g} is no time in ms", 'write "2026-11-23", or how long ago: "3d"')
        return then.isoformat(timespec="milliseconds")

    def _refuse(self, asked: Comparison, message: str, hint: str = "") -> NoReturn:
        self._expression.refuse(asked.place, message, hint)


def _compared(column: str, sign: str, values: Sequence[object]) -> Part:
    if sign == "null":
        return f"({column} IS NOT NULL)" if column.startswith("r.") else "1", []
    if sign == "in":
        return f"{column} IN ({','.join('?' * len(values))})", list(values)
    if sign == "!=" and not column.startswith("r."):
        return f"{column} IS NOT ?", list(values)  # a value that is no number differs from every number
    return f"{column} {sign} ?", list(values)


def _stated(sql: str, values: list[object]) -> Part:
    """A comparison with what is not there is false, so that its negation is true."""
    return f"coalesce({sql}, 0)", values


def _like(asked: Comparison) -> tuple[str, str]:
    """Return the operator and its pattern: sqlite's LIKE does not tell a from A, its GLOB does."""
    pattern = str(asked.values[0])
    if asked.sign == "ilike":
        return "LIKE", pattern
    glob = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "GLOB", "".join(glob.get(letter, letter) for letter in pattern)
