"""The `parameters` of an entry point: their types, defaults and JSON Schema keywords."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from runner.project.document import BOOLEAN, MAPPING, NULL, NUMBER, SEQUENCE, TEXT, Node
from runner.project.model import Declaration
from runner.project.reading import Reader, described, find

CHECKED = ("int", "float", "bool")  # types whose values are checked
TYPES = ("string", "str", *CHECKED, "path", "uri", "list")
KEYS = ("type", "default", "description", "flag")
NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
COUNTS = ("minLength", "maxLength", "minItems", "maxItems")
KEYWORDS = (*NUMBERS, *COUNTS, "enum", "const", "pattern", "items", "uniqueItems")
TRUE, FALSE = ("true", "yes", "on", "1", "t", "y"), ("false", "no", "off", "0", "f", "n")

_MLFLOW_STOPS = "stops with a traceback (AttributeError)"


def truth(text: str) -> bool | None:
    """Return what a text says as a bool, whatever its case; None where it says neither."""
    folded = text.strip().lower()
    return True if folded in TRUE else False if folded in FALSE else None


def read_declarations(reader: Reader, node: Node | None, key: str) -> dict[str, Declaration]:
    """Return the declared parameters in their order."""
    expected = "a mapping from names to types"
    items = reader.mapping(node, key, expected, "write `alpha: float`, or `alpha: {type: float, default: 0.5}`")
    declarations = {}
    for name, item in items.items():
        place = f"{key}.{name}"
        if not name:
            reader.say(item.line, place, "a parameter needs a name")
        declarations[name] = _declaration(reader, name, item, place)
    return declarations


def _declaration(reader: Reader, name: str, node: Node, key: str) -> Declaration:
    if node.kind == TEXT:
        return Declaration(name, type=node.text, line=node.line)
    if node.kind != MAPPING:
        hint = f"write `{name}: {{type: string, default: {node.text}}}`" if node.text else f"write `{name}: string`"
        reader.expect(node, key, "a type, or a mapping with `type` and `default`,", hint, _MLFLOW_STOPS)
        return Declaration(name, line=node.line)
    items = node.items
    kind = reader.text(items.get("type"), f"{key}.type", "the name of a type") or "string"
    default, words = _default(reader, find(items, "default"), kind, f"{key}.default")
    return Declaration(
        name,
        type=kind,
        default=default,
        words=words,
        flag=_flag(reader, items, kind, default, key),
        keywords=_keywords(reader, items, key),
        description=described(items.get("description")),
        line=node.line,
    )


def _default(reader: Reader, node: Node | None, kind: str, key: str) -> tuple[str | None, tuple[str, ...] | None]:
    """Return a default as text, and a list's as words too."""
    if node is None:
        return None, None
    if kind != "list":
        # MLflow's text of a default: Python's, after YAML 1.1 has read it.
        return str(node.value), None
    elements = node.elements if node.kind == SEQUENCE else (node,)
    for element in elements:
        if element.kind in (MAPPING, SEQUENCE, NULL):
            reader.expect(element, key, "a list of single values")
    words = tuple(str(element.value) for element in elements)
    return shlex.join(words), words


def _flag(
    reader: Reader, items: Mapping[str, Node], kind: str, default: str | None, key: str
) -> tuple[str, ...] | None:
    node = find(items, "flag")
    if node is None:
        return None
    text = reader.text(node, f"{key}.flag", "a text such as --verbose", "quote it")
    if node.kind == TEXT and not text.strip():
        reader.say(node.line, f"{key}.flag", "a text such as --verbose is expected, not an empty one")
    if kind != "bool":
        message = f"a flag belongs to the type bool, and this is {kind!r}"
        reader.say(node.line, f"{key}.flag", message, hint="write `type: bool`")
    if default is not None and truth(default) is None:
        message = f"the default of a flag is true or false, not {default!r}"
        reader.say(node.line, f"{key}.default", message)
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        reader.say(node.line, f"{key}.flag", f"it cannot be split into words: {error}", hint="close the quotes")
        return None


def _keywords(reader: Reader, items: Mapping[str, Node], key: str) -> dict[str, Any]:
    keywords = {}
    for name in KEYWORDS:
        node = find(items, name)
        if node is None:
            continue
        fault = _misfit(name, node)
        if fault:
            reader.expect(node, f"{key}.{name}", fault)
        elif name == "items":
            keywords[name] = _elements(reader, node, f"{key}.items")
        elif name == "pattern" and not _compiles(node.text):
            reader.say(node.line, f"{key}.pattern", f"{node.text!r} is no regular expression")
        else:
            keywords[name] = node.value
    return keywords


def whole(node: Node, least: int = 0) -> int | None:
    """Return a whole number that is at least ``least``; None where the node holds none."""
    value = node.value
    if node.kind != NUMBER or (isinstance(value, float) and not value.is_integer()) or value < least:
        return None
    return int(value)


def _elements(reader: Reader, node: Node, key: str) -> dict[str, Any]:
    """The keywords for the elements of a list, with their type."""
    kind = reader.text(node.items.get("type"), f"{key}.type", "the name of a type")
    keywords = _keywords(reader, {name: item for name, item in node.items.items() if name != "items"}, key)
    return {"type": kind or "string", **keywords}


def _misfit(name: str, node: Node) -> str:
    """Return what a keyword should hold, or "" where it does."""
    if name in NUMBERS:
        positive = name != "multipleOf" or (node.kind == NUMBER and node.value > 0)
        return "" if node.kind == NUMBER and positive else "a number"
    if name in COUNTS:
        return "" if whole(node) is not None else "a whole number, 0 or more,"
    if name == "enum":
        return "" if node.kind == SEQUENCE and node.elements else "a list of the allowed values"
    fits = {"pattern": (TEXT, "a regular expression"), "items": (MAPPING, "a mapping of JSON Schema keywords"),
            "uniqueItems": (BOOLEAN, "true or false")}  # fmt: skip
    kind, expected = fits.get(name, (node.kind, ""))
    return "" if node.kind == kind else expected


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True
