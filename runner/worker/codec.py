"""Frozen dataclasses to JSON and back, checked: a stored file is read as strictly as it was written."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any, Callable, TypeVar, Union, get_args, get_origin, get_type_hints

from runner.errors import FormatError
from runner.worker.files import Json

T = TypeVar("T")
Decoder = Callable[[Any], Any]
_UNIONS = (Union, getattr(types, "UnionType", Union))  # Optional[X], and X | None where Python has it
_NEWER = "it was written by a newer mlrun, or changed by hand"


class _Misfit(Exception):  # noqa: N818 - becomes a FormatError once it is known where
    """JSON that does not fit; ``where`` grows while the error rises from the inside."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint, self.where = message, hint, ""

    def inside(self, step: str) -> _Misfit:
        self.where = step + self.where
        return self


def encode(value: Any) -> Json:
    """Return the JSON of a dataclass; None and empty fields are written too, so that readers never guess."""
    names = _names(type(value))  # type: ignore[arg-type]
    if names is not None:
        return {name: encode(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    return value  # type: ignore[no-any-return]


def decode(kind: type[T], data: Json, where: str = "") -> T:
    """Return ``data`` as a ``kind``; FormatError names the key that does not fit. Unknown keys are refused."""
    try:
        result: T = _decoder(kind)(data)  # type: ignore[arg-type]
    except _Misfit as misfit:
        message = f"{where or kind.__name__}{misfit.where} {misfit.message}"
        raise FormatError(message, hint=misfit.hint) from None
    return result


@functools.lru_cache(maxsize=None)
def _names(kind: type) -> Any:
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


@functools.lru_cache(maxsize=None)
def _decoder(kind: Any) -> Decoder:
    """Return what reads one kind of value; made once for a kind, because a record may hold 100,000 of them."""
    origin = get_origin(kind)
    if origin in _UNIONS:
        return _union_decoder(get_args(kind))
    if origin is tuple:
        return functools.partial(_decode_list, _decoder(get_args(kind)[0]))
    if origin is not None and issubclass(origin, Mapping):
        return functools.partial(_decode_mapping, _decoder(get_args(kind)[1]))
    if dataclasses.is_dataclass(kind):
        return _dataclass_decoder(kind)
    return _decode_number if kind is float else functools.partial(_expect, kind)


def _union_decoder(kinds: tuple[Any, ...]) -> Decoder:
    optional = type(None) in kinds
    *others, last = [_decoder(kind) for kind in kinds if kind is not type(None)]

    def decode_union(data: Any) -> Any:
        if data is None and optional:
            return None
        for decoder in others:
            try:
                return decoder(data)
            except (FormatError, _Misfit):
                continue
        return last(data)

    return decode_union


def _decode_list(decoder: Decoder, data: Any) -> Any:
    found = []
    for index, item in enumerate(_expect(list, data)):
        try:
            found.append(decoder(item))
        except _Misfit as misfit:
            raise misfit.inside(f"[{index}]") from None
    return tuple(found)


def _decode_mapping(decoder: Decoder, data: Any) -> Any:
    found = {}
    for key, item in _expect(dict, data).items():
        try:
            found[key] = decoder(item)
        except _Misfit as misfit:
            raise misfit.inside(f".{key}") from None
    return found


def _dataclass_decoder(kind: Any) -> Decoder:
    decoders = {name: _decoder(hint) for name, hint in get_type_hints(kind).items()}
    required = [field.name for field in dataclasses.fields(kind) if _is_required(field)]

    def decode_dataclass(data: Any) -> Any:
        _expect(dict, data)
        values = {}
        for name, value in data.items():
            decoder = decoders.get(name)
            if decoder is None:
                unknown = min(set(data) - set(decoders))
                raise _Misfit(f"has an unknown key {unknown!r}", _NEWER)
            try:
                values[name] = decoder(value)
            except _Misfit as misfit:
                raise misfit.inside(f".{name}") from None
        for name in required:
            if name not in values:
                raise _Misfit(f"lacks the key {name!r}")
        return kind(**values)

    return decode_dataclass


def _decode_number(data: Any) -> float:
    return float(data) if type(data) is int else _expect(float, data)


def _expect(kind: type, data: Any) -> Any:
    if type(data) is not kind:
        raise _Misfit(f"should be {kind.__name__}, not {type(data).__name__}")
    return data


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
