"""Frozen dataclasses to JSON and back, checked: a stored file is read as strictly as it was written."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from runner.errors import FormatError
from runner.worker.files import Json

T = TypeVar("T")
_UNIONS = (Union, getattr(types, "UnionType", Union))  # Optional[X], and X | None where Python has it


def encode(value: Any) -> Json:
    """Return the JSON of a dataclass; None and empty fields are written too, so that readers never guess."""
    if dataclasses.is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    return value  # type: ignore[no-any-return]


def decode(kind: type[T], data: Json, where: str = "") -> T:
    """Return ``data`` as a ``kind``; FormatError names the key that does not fit. Unknown keys are refused."""
    result: T = _decode(kind, data, where or kind.__name__)
    return result


def _decode(kind: Any, data: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in _UNIONS:
        return _decode_union(get_args(kind), data, where)
    if origin is tuple:
        _expect(list, data, where)
        return tuple(_decode(get_args(kind)[0], item, f"{where}[{index}]") for index, item in enumerate(data))
    if origin is not None and issubclass(origin, Mapping):
        _expect(dict, data, where)
        return {key: _decode(get_args(kind)[1], item, f"{where}.{key}") for key, item in data.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    if kind is float and type(data) is int:
        return float(data)
    _expect(kind, data, where)
    return data


def _decode_union(kinds: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in kinds:
        return None
    candidates = [kind for kind in kinds if kind is not type(None)]
    for kind in candidates[:-1]:
        try:
            return _decode(kind, data, where)
        except FormatError:
            continue
    return _decode(candidates[-1], data, where)


def _decode_dataclass(kind: Any, data: Any, where: str) -> Any:
    _expect(dict, data, where)
    hints = _hints(kind)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        message = f"{where} has an unknown key {unknown[0]!r}"
        raise FormatError(message, hint="it was written by a newer mlrun, or changed by hand")
    missing = [field.name for field in dataclasses.fields(kind) if field.name not in data and _is_required(field)]
    if missing:
        message = f"{where} lacks the key {missing[0]!r}"
        raise FormatError(message)
    return kind(**{name: _decode(hints[name], value, f"{where}.{name}") for name, value in data.items()})


def _expect(kind: type, data: Any, where: str) -> None:
    if type(data) is not kind:
        message = f"{where} should be {kind.__name__}, not {type(data).__name__}"
        raise FormatError(message)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@functools.lru_cache(maxsize=None)
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
