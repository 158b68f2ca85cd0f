"""Random values of the project's frozen dataclasses, and random small damage to their JSON."""

from __future__ import annotations

import copy
import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from runner.records.basics import BASES
from runner.records.model import STATUSES, Record, missing
from runner.worker.facts import Gap

TEXT = st.text(max_size=6)
SHA256 = st.text("0123456789abcdef", min_size=64, max_size=64)
TIME = st.datetimes(min_value=None).map(lambda moment: moment.isoformat(timespec="milliseconds") + "+00:00")
TIME = TIME.filter(lambda text: len(text) == 29)
ID = st.uuids().map(str)
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["NaN", "Infinity", "-Infinity"])
SIZE = st.integers(0, 2**60)

SPECIAL = {
    ("Digest", "sha256"): SHA256,
    ("Run", "id"): ID,
    ("Run", "status"): st.sampled_from(sorted(STATUSES)),
    ("Run", "created"): TIME,
    ("Run", "started"): st.none() | TIME,
    ("Run", "ended"): st.none() | TIME,
    ("Input", "basis"): st.sampled_from(sorted(BASES)),
    ("Output", "basis"): st.sampled_from(sorted(BASES)),
    ("Input", "size"): SIZE,
    ("Output", "size"): SIZE,
    ("Series", "count"): st.integers(1, 100),
    ("Series", "last"): NUMBER,
    ("Series", "minimum"): NUMBER,
    ("Series", "maximum"): NUMBER,
    ("Point", "value"): NUMBER,
    ("Record", "version"): st.just(1),
    ("Note", "version"): st.just(1),
    ("Note", "at"): TIME,
    ("Note", "text"): st.text(min_size=1, max_size=6),
}
PLAIN = {
    str: TEXT,
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
}


@functools.cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy of values of an annotation."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return st.one_of(*(values(each) for each in get_args(kind)))
    if origin is tuple:
        return st.lists(values(get_args(kind)[0]), max_size=2).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(TEXT, values(get_args(kind)[1]), max_size=2)
    if kind is Record:
        return st.fixed_dictionaries(_fields(Record)).map(_explained)
    if dataclasses.is_dataclass(kind):
        return st.fixed_dictionaries(_fields(kind)).map(lambda fields: kind(**fields))
    return PLAIN[kind]


def _fields(kind: type) -> dict[str, st.SearchStrategy[Any]]:
    hints = get_type_hints(kind)
    return {
        field.name: SPECIAL[place] if (place := (kind.__name__, field.name)) in SPECIAL else values(hints[field.name])
        for field in dataclasses.fields(kind)
    }


def _explained(fields: dict[str, Any]) -> Record:
    """Add the gaps without which a record cannot be made."""
    shape = types.SimpleNamespace(**fields)
    gaps = tuple(Gap(name, "why") for name in missing(shape))
    return Record(**{**fields, "gaps": (*fields["gaps"], *gaps)})


@st.composite
def damaged(draw: st.DrawFn, data: Any) -> Any:
    """Return JSON with one thing in it changed: a key lost or added, a value of another kind or rule."""
    result = copy.deepcopy(data)
    places = list(_places(result))
    parent, key = draw(st.sampled_from(places))
    value = parent[key]
    others: list[Any] = [None, True, 7, -1, 0.5, "", "x", "NaN", [], {}, [7], {"x": "y"}, [None], "0" * 64, {"x": 1}]
    deed = draw(st.sampled_from(["lose", "change", "change", "change", "add"]))
    if deed == "lose":
        del parent[key]
    elif deed == "add" and isinstance(value, dict):
        value["added"] = draw(st.sampled_from(others))
    else:
        parent[key] = draw(st.sampled_from(others))
    return result


def _places(value: Any) -> Any:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(pairs):
        yield value, key
        yield from _places(item)
