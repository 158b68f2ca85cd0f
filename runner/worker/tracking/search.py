"""MLflow's filter and order expressions: `metrics.rmse < 0.8 and params.alpha = "0.5"`, `metrics.rmse DESC`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Callable, TypeVar

from runner.worker.tracking.refusal import Refused
from runner.worker.values import dataclass

T = TypeVar("T")
Facts = Callable[[T, str, str], Any]  # of a thing, a kind (metrics, params, ...) and a name

_SUBJECT = r"""(?:(?P<kind>\w+)\.)?(?:`(?P<back>[^`]*)`|"(?P<double>[^"]*)"|(?P<plain>[\w./-]+))"""
_ORDER = re.compile(rf"\s*{_SUBJECT}\s*(?P<direction>asc|desc)?\s*", re.IGNORECASE)
_VALUE = r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|[-+]?[\w.][\w.+-]*"""
_COMPARISON = re.compile(
    rf"""\s*{_SUBJECT}\s*
    (?: (?P<null>is\s+(?:not\s+)?null)
      | (?P<among>(?:not\s+)?in)\s*\((?P<list>(?:\s*(?:{_VALUE})\s*,?)*)\)
      | (?P<operator><=|>=|!=|<>|=|<|>|(?:i?like\b))\s*(?P<value>{_VALUE})
    )\s*(?P<rest>and\b|$)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_LONGEST = 1 << 16


@dataclass(frozen=True)
class Comparison:
    """One condition; all of a filter have to hold."""

    kind: str
    name: str
    operator: str
    values: tuple[str, ...]
    quoted: bool


def parse(text: str) -> tuple[Comparison, ...]:
    """Return the comparisons of a filter; Refused where it is none."""
    found: list[Comparison] = []
    place = 0
    if len(text) > _LONGEST:
        message = "the filter is too long"
        raise Refused(message)
    while place < len(text.rstrip()):
        match = _COMPARISON.match(text, place)
        if match is None or (match["rest"] and match.end() >= len(text.rstrip())):
            message = f"Invalid filter {text!r}: it is read up to {text[:place]!r}; write comparisons joined by AND"
            raise Refused(message)
        found.append(_comparison(match))
        place = match.end()
    return tuple(found)


def suits(things: Sequence[T], text: str, facts: Facts[T]) -> list[T]:
    """Return the things for which a filter holds."""
    wanted = parse(text)
    return [thing for thing in things if all(_holds(each, facts(thing, each.kind, each.name)) for each in wanted)]


def sort(things: Sequence[T], orders: Sequence[str], facts: Facts[T]) -> list[T]:
    """Return the things in order: by the first expression, then the second; what has no value comes last."""
    ordered = list(things)
    for text in reversed(orders):
        match = _ORDER.fullmatch(text)
        if match is None:
            raise Refused(f"Invalid order_by clause {text!r}")
        kind, name = match["kind"] or "attributes", _name(match)
        ordered = by(ordered, lambda thing, kind=kind, name=name: facts(thing, kind, name), _falls(match["direction"]))  # type: ignore[misc]
    return ordered


def by(things: Sequence[T], value: Callable[[T], Any], falling: bool) -> list[T]:
    """Return the things ordered by a value: numbers, then NaN, then what has none."""
    known = [(value(thing), thing) for thing in things]
    numbers = [(v, t) for v, t in known if v is not None and v == v]  # noqa: PLR0124 - NaN differs from itself
    try:
        numbers.sort(key=lambda pair: pair[0], reverse=falling)
    except TypeError:
        numbers.sort(key=lambda pair: str(pair[0]), reverse=falling)
    rest = [t for v, t in known if v is not None and v != v]  # noqa: PLR0124
    return [*(t for _, t in numbers), *rest, *(t for v, t in known if v is None)]


def _falls(direction: Any) -> bool:
    return direction is not None and direction.lower() == "desc"


def _name(match: re.Match[str]) -> str:
    return next(match[group] for group in ("back", "double", "plain") if match[group] is not None)


def _comparison(match: re.Match[str]) -> Comparison:
    kind, name = match["kind"] or "attributes", _name(match)
    if match["null"]:
        return Comparison(kind, name, " ".join(match["null"].lower().split()), (), quoted=False)
    if match["among"]:
        values = re.findall(_VALUE, match["list"])
        return Comparison(kind, name, " ".join(match["among"].lower().split()), tuple(map(_bare, values)), quoted=True)
    value = match["value"]
    return Comparison(kind, name, match["operator"].lower(), (_bare(value),), quoted=value[0] in "'\"")


def _bare(value: str) -> str:
    return value[1:-1].replace("''", "'") if value[0] in "'\"" else value


def _holds(wanted: Comparison, fact: Any) -> bool:
    if isinstance(fact, list):  # of several, one is enough
        return any(_holds(wanted, each) for each in fact)
    if wanted.operator in ("is null", "is not null"):
        return (fact is None) == (wanted.operator == "is null")
    if fact is None:
        return False
    if wanted.operator in ("in", "not in"):
        return (str(fact) in wanted.values) == (wanted.operator == "in")
    if wanted.operator in ("like", "ilike"):
        return _is_like(str(fact), wanted.values[0], wanted.operator == "ilike")
    return _compare(wanted, fact)


def _is_like(text: str, pattern: str, any_case: bool) -> bool:
    parts = [".*" if part == "%" else "." if part == "_" else re.escape(part) for part in re.split("([%_])", pattern)]
    return re.fullmatch("".join(parts), text, re.DOTALL | (re.IGNORECASE if any_case else 0)) is not None


def _compare(wanted: Comparison, fact: Any) -> bool:
    value: Any = wanted.values[0]
    if isinstance(fact, (int, float)):
        try:
            value = float(value)
        except ValueError:
            raise Refused(f"Expected a number for {wanted.kind}.{wanted.name}, and found {value!r}") from None
        if math.isnan(fact) or math.isnan(value):
            return wanted.operator in ("!=", "<>")
    elif not wanted.quoted:
        raise Refused(f"Expected a quoted string for {wanted.kind}.{wanted.name}: '{value}'")
    differs = (fact > value) - (fact < value)
    return bool(
        {"=": differs == 0, "!=": differs != 0, "<>": differs != 0, "<": differs < 0, "<=": differs <= 0,
         ">": differs > 0, ">=": differs >= 0}[wanted.operator]
    )  # fmt: skip
