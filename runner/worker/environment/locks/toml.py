"""Reads TOML where the interpreter cannot (before 3.11): all of 1.0, dates as text, errors told but not explained."""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

from runner.errors import FormatError

Table = dict[str, Any]

_LINE = re.compile(r"\bline \d+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE = re.compile(r"[^\s,\]}#]+(?: \d\d:[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?")
_BASIC = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_BASIC_LONG = re.compile(r'"""\r?\n?((?:[^\\]|\\.)*?"{0,2})"""(?!")', re.DOTALL)
_LITERAL = re.compile(r"'([^'\n]*)'")
_LITERAL_LONG = re.compile(r"'''\r?\n?(.*?'{0,2})'''(?!')", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[ \t]*\r?\n\s*|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b", '"': '"', "\\": "\\"}


def loads(data: bytes, name: str = "") -> Table:
    """Return what a TOML document holds; FormatError where it is none, with the line where there is a ``name`` too."""
    try:
        text = data.decode("utf-8")
        if _reads_itself():
            table: Table = importlib.import_module("tomllib").loads(text)
            return table
        return _Reader(text).document()
    except UnicodeDecodeError as error:
        raise _refusal(
            name, f"line {data.count(10, 0, error.start) + 1}", "no valid TOML: it is no text in UTF-8"
        ) from None
    except RecursionError:
        raise _refusal(name, "", "no valid TOML: it is nested too deeply") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise _refusal(name, str(error), f"no valid TOML: {error}") from None


def _refusal(name: str, place: str, message: str) -> FormatError:
    found = _LINE.search(place)
    if not found or not name:
        return FormatError(f"{name}: {message}" if name else message)
    line = found.group()
    return FormatError(f"{name}, {line}: {message.replace(f' on {line}', '').replace(f'{line}, ', '')}")


def _reads_itself() -> bool:
    return sys.version_info >= (3, 11)


class _Reader:
    """A position in a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def document(self) -> Table:
        root: Table = {}
        table = root
        self._skip(_BLANK)
        while self.at < len(self.text):
            table = self._header(root) if self.text[self.at] == "[" else self._pair(table)
            self._end_of_line()
            self._skip(_BLANK)
        return root

    def _header(self, root: Table) -> Table:
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        path = self._path()
        self._expect("]]" if many else "]")
        parent = _walk(root, path[:-1])
        if not many:
            return _walk(parent, path[-1:])
        entry: Table = {}
        parent.setdefault(path[-1], []).append(entry)
        return entry

    def _pair(self, table: Table) -> Table:
        path = self._path()
        self._expect("=")
        self._skip(_SPACE)
        parent = _walk(table, path[:-1])
        if path[-1] in parent:
            message = f"the key {path[-1]!r} is there twice"
            raise ValueError(message)
        parent[path[-1]] = self._value()
        return table

    def _path(self) -> list[str]:
        path = []
        while True:
            self._skip(_SPACE)
            quoted = self._match(_BASIC) or self._match(_LITERAL)
            path.append(_unescape(quoted.group(1)) if quoted else self._must(_KEY).group())
            self._skip(_SPACE)
            if self.text[self.at : self.at + 1] != ".":
                return path
            self.at += 1

    def _value(self) -> Any:
        start = self.text[self.at]
        if start == "[":
            return self._array()
        if start == "{":
            return self._inline()
        if start == '"':
            return _unescape((self._match(_BASIC_LONG) or self._must(_BASIC)).group(1))
        if start == "'":
            return (self._match(_LITERAL_LONG) or self._must(_LITERAL)).group(1)
        return _scalar(self._must(_BARE).group())

    def _array(self) -> list[Any]:
        items: list[Any] = []
        self.at += 1
        while True:
            self._skip(_BLANK)
            if self._take("]"):
                return items
            items.append(self._value())
            self._skip(_BLANK)
            if not self._take(","):
                self._expect("]")
                return items

    def _inline(self) -> Table:
        table: Table = {}
        self.at += 1
        while True:
            self._skip(_BLANK)
            if self._take("}"):
                return table
            self._pair(table)
            self._skip(_BLANK)
            if not self._take(","):
                self._expect("}")
                return table

    def _end_of_line(self) -> None:
        self._skip(_SPACE)
        rest = self.text[self.at : self.at + 1]
        if rest not in ("", "\r", "\n", "#"):
            message = f"{rest!r} stands where a line should end"
            raise ValueError(message)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        assert match is not None
        self.at = match.end()

    def _match(self, pattern: re.Pattern[str]) -> Any:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()
        return match

    def _must(self, pattern: re.Pattern[str]) -> Any:
        match = self._match(pattern)
        if match is None:
            message = f"something else is expected on line {self.text.count(chr(10), 0, self.at) + 1}"
            raise ValueError(message)
        return match

    def _take(self, text: str) -> bool:
        found = self.text.startswith(text, self.at)
        self.at += len(text) if found else 0
        return found

    def _expect(self, text: str) -> None:
        self._skip(_SPACE)
        if not self._take(text):
            message = f"{text!r} is missing on line {self.text.count(chr(10), 0, self.at) + 1}"
            raise ValueError(message)


def _walk(table: Table, path: list[str]) -> Table:
    for name in path:
        below = table.setdefault(name, {})
        table = below[-1] if isinstance(below, list) else below
    return table


def _unescape(text: str) -> str:
    return _ESCAPE.sub(_replacement, text) if "\\" in text else text


def _replacement(match: re.Match[str]) -> str:
    code = match.group(1)
    if code[0] in "uU" and len(code) > 1:
        return chr(int(code[1:], 16))
    return "" if code.strip() == "" else _ESCAPES[code]


def _scalar(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    plain = text.replace("_", "")
    if re.fullmatch(r"[+-]?(?:0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+|\d+)", plain):
        return int(plain, 0) if re.match(r"[+-]?0[xob]", plain) else int(plain)
    if re.fullmatch(r"[+-]?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|inf|nan)", plain):
        return float(plain)
    if re.match(r"\d\d\d\d-\d\d-\d\d|\d\d:\d\d", text):
        return text
    message = f"{text!r} is no value"
    raise ValueError(message)
