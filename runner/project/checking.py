"""Values against their declared types and JSON Schema keywords."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.project.declarations import truth
from runner.project.model import Declaration

_WHOLE = re.compile(r"\s*[+-]?[0-9]+(_[0-9]+)*\s*")  # what int() takes, of any length
_NUMBERS = {"int": "a whole number", "integer": "a whole number", "float": "a number", "number": "a number",
            "bool": "true or false", "boolean": "true or false"}  # fmt: skip


def faults(declaration: Declaration, raw: str, words: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return what is wrong with a value, in words; nothing where it fits."""
    if declaration.type == "list":
        return _faults_of_list(declaration, words or ())
    value, fault = convert(raw, declaration.type)
    if fault:
        return (fault,)
    return _against(_schema(declaration.keywords, declaration.type), value)


def convert(text: str, kind: str) -> tuple[Any, str]:
    """Return a text as a value of its type, and what is wrong with it."""
    value: Any = text
    if kind in ("int", "integer"):
        value = _whole(text)
    elif kind in ("float", "number"):
        value = _number(text)
    elif kind in ("bool", "boolean"):
        value = truth(text)
    return value, f"{_NUMBERS[kind]} is expected, not {text!r}" if value is None else ""


def _whole(text: str) -> int | float | None:
    if not _WHOLE.fullmatch(text):
        return None
    try:
        return int(text)
    except ValueError:  # more digits than Python converts: its size is all that keywords can ask for
        return float("-inf") if text.strip().startswith("-") else float("inf")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _faults_of_list(declaration: Declaration, words: tuple[str, ...]) -> tuple[str, ...]:
    kind = str(declaration.keywords.get("items", {}).get("type", "string"))
    values, wrong = [], []
    for word in words:
        value, fault = convert(word, kind)
        values.append(value)
        wrong += [fault] if fault else []
    return tuple(wrong) or _against(_schema(declaration.keywords, kind), values)


def _schema(keywords: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The keywords as JSON Schema has them: allowed values of a text are text, whatever YAML made of them."""
    schema = dict(keywords)
    if "items" in schema:
        schema["items"] = _schema({key: item for key, item in schema["items"].items() if key != "type"}, kind)
        return schema
    if kind in _NUMBERS:
        return schema
    if "enum" in schema:
        schema["enum"] = [str(value) for value in schema["enum"]]
    if "const" in schema:
        schema["const"] = str(schema["const"])
    return schema


def _against(schema: Mapping[str, Any], value: Any) -> tuple[str, ...]:
    if not schema:
        return ()
    from jsonschema import Draft202012Validator

    try:
        errors = sorted(Draft202012Validator(schema).iter_errors(value), key=lambda error: list(error.path))
    except (OverflowError, ValueError, ArithmeticError):  # infinity is no multiple of anything
        return (f"{_text(value)} cannot be compared with its declaration",)
    return tuple(_explained(error) for error in errors)


def _explained(error: Any) -> str:
    value, limit = error.instance, error.validator_value
    words = {
        "enum": lambda: f"one of {', '.join(map(str, limit))} is expected, not {_text(value)}",
        "const": lambda: f"{limit} is expected, not {_text(value)}",
        "minimum": lambda: f"{_text(value)} is less than the minimum {limit}",
        "maximum": lambda: f"{_text(value)} is more than the maximum {limit}",
        "exclusiveMinimum": lambda: f"{_text(value)} is not more than {limit}",
        "exclusiveMaximum": lambda: f"{_text(value)} is not less than {limit}",
        "pattern": lambda: f"{_text(value)} does not match the pattern {limit!r}",
        "minItems": lambda: f"{len(value)} values are given, and at least {limit} are expected",
        "maxItems": lambda: f"{len(value)} values are given, and at most {limit} are expected",
    }
    explain = words.get(error.validator)
    return explain() if explain else error.message


def _text(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."  # noqa: PLR2004
