"""What a caller of the Python API gives, checked: an odd value is one clear line, and no surprise further down."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from runner.backends.choice import read_config
from runner.errors import UsageError
from runner.flow import ask
from runner.store.summary import STATUSES


def text(name: str, value: object) -> str:
    """Return a text that has to be given."""
    if not isinstance(value, str):
        raise _wrong(name, "a text", value)
    return value


def text_or_none(name: str, value: object) -> str | None:
    """Return a text that may be left out."""
    return None if value is None else text(name, value)


def path(name: str, value: object) -> str:
    """Return a text or a path as text; bytes are none, for what they mean depends on the machine."""
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(found, str):
        raise _wrong(name, "a path or a URI", value)
    return found


def run_name(value: object) -> str:
    """Return the name of a run, "" for none."""
    return ask.run_name(text_or_none("run_name", value) or "")


def texts(name: str, value: object) -> dict[str, str]:
    """Return a mapping from texts to values, as text each; empty for None."""
    return {key: _value(f"{name}[{key!r}]", one) for key, one in _mapping(name, value).items()}


def parameters(value: object) -> tuple[tuple[str, str], ...]:
    """Return the values of parameters as `-P` has them: a sequence gives its name several."""
    pairs = []
    for name, one in _mapping("parameters", value).items():
        place = f"parameters[{name!r}]"
        several = isinstance(one, Sequence) and not isinstance(one, str | bytes | bytearray)
        pairs += [(name, _value(place, item)) for item in (one if several else [one])]
    return tuple(pairs)


def backend_config(value: object) -> Mapping[str, Any]:
    """Return the configuration of a backend: a mapping, or what `-c` takes, JSON or the path of a .json file."""
    if isinstance(value, str | os.PathLike):
        return read_config(path("backend_config", value), "backend_config")
    return _mapping("backend_config", value)


def status(value: object) -> str | None:
    """Return a run's status that there is; None for any."""
    found = text_or_none("status", value)
    if found is not None and found not in STATUSES:
        message = f"status: no run is ever {found!r}"
        raise UsageError(message, hint=f"known are {', '.join(STATUSES)}")
    return found


def limit(value: object) -> int | None:
    """Return how many at most; None for all."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        name = "limit"
        raise _wrong(name, "a number of runs, or None", value)
    return value


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _wrong(name, "a mapping from names to values", value, f'write {name}={{"name": "value"}}')
    for key in value:
        if not isinstance(key, str) or not key:
            raise _wrong(f"a name in {name}", "a text that is not empty", key)
    return value


def _value(place: str, value: object) -> str:
    if value is None or isinstance(value, Mapping | AbstractSet | bytes | bytearray):
        raise _wrong(place, "a text, a number, True, False or a list of them", value, "leave out what has no value")
    found = str(value)
    if "\0" in found:
        message = f"{place}: a text with a NUL character in it cannot be passed on"
        raise UsageError(message, hint="write it to a file, and pass on its name")
    return found


def _wrong(name: str, expected: str, value: object, hint: str = "") -> UsageError:
    plain = value is None or isinstance(value, str | bytes | int | float)
    shown = f"{value!r:.60}" if plain else f"a {type(value).__name__}"
    return UsageError(f"{name}: {expected} is expected, not {shown}", hint=hint)
