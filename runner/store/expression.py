"""`metrics.rmse < 0.8 and params.alpha = "0.5"`: a condition on runs, from its text to a tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from runner.errors import UsageError
from runner.worker.values import dataclass

Literal = float | str
GROUPS = {
    **dict.fromkeys(("metrics", "metric"), "metrics"),
    **dict.fromkeys(("params", "param", "parameters", "parameter"), "params"),
    **dict.fromkeys(("tags", "tag"), "tags"),
    **dict.fromkeys(("attributes", "attribute", "attr", "run"), ""),
}
_EXAMPLE = """write it as: metrics.rmse < 0.8 and params.alpha = "0.5" and not status in ("failed", "killed")"""
_LONGEST, _MOST, _DEEPEST = 10_000, 200, 50  # characters, comparisons, parentheses: what sqlite takes with ease
_TOKENS = re.compile(
    r"""\s*(?:
    (?P<number>[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)(?![\w.]))
    |(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    |(?P<name>[^\W\d]\w*(?:\.(?:`[^`]*`|"[^"]*"|[\w./:@-]+))?)
    |(?P<sign><=|>=|!=|<>|==|=|<|>|\(|\)|,)
    |(?P<end>\Z)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_SIGNS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


@dataclass(frozen=True)
class Comparison:
    """What one value of a run has to be; false for a run that has no such value."""

    group: str  # metrics, params, tags, or "" for what every run has
    name: str
    sign: str  # =, !=, <, <=, >, >=, like, ilike, in, null
    values: tuple[Literal, ...]
    place: int  # of the name in the text


@dataclass(frozen=True)
class Negation:
    """The contrary of a condition."""

    of: Condition


@dataclass(frozen=True)
class Junction:
    """Several conditions that hold together, or of which one holds."""

    word: str  # and, or
    parts: tuple[Condition, ...]


Condition = Comparison | Negation | Junction


@dataclass(frozen=True)
class Expression:
    """A condition, with the text that it was read from."""

    text: str
    condition: Condition

    def refuse(self, place: int, message: str, hint: str = "") -> NoReturn:
        """Raise UsageError for what stands at a place of the text."""
        _refuse(self.text, place, message, hint)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int

    @property
    def word(self) -> str:
        return self.text.lower() if self.kind in ("name", "sign") else ""

    @property
    def shown(self) -> str:
        return "the end" if self.kind == "end" else self.text


def parse(text: str) -> Expression:
    """Return the condition that a text describes; UsageError says what is expected, and where."""
    if len(text) > _LONGEST:
        message = f"the condition has {len(text):,} characters, and {_LONGEST:,} are understood"
        raise UsageError(message, hint="ask in several steps")
    parser = _Parser(text)
    condition = parser.alternatives()
    parser.expect("end", "`and`, `or` or the end is expected")
    return Expression(text, condition)


class _Parser:
    """Reads a text from left to right, one token ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0
        self._comparisons = 0

    def alternatives(self) -> Condition:
        return self._joined("or", lambda: self._joined("and", self._negation))

    def _joined(self, word: str, read: object) -> Condition:
        assert callable(read)
        parts: list[Condition] = [read()]
        while self._take(word):
            parts.append(read())
        return parts[0] if len(parts) == 1 else Junction(word, tuple(parts))

    def _negation(self) -> Condition:
        place = self._token.place
        self._depth += 1
        if self._depth > _DEEPEST:
            _refuse(self._text, place, f"more than {_DEEPEST} conditions stand in one another")
        try:
            if self._take("not"):
                return Negation(self._negation())
            if self._take("("):
                inner = self.alternatives()
                self.expect(")", "`)`, `and` or `or` is expected")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Condition:
        self._comparisons += 1
        name = self._token
        if self._comparisons > _MOST:
            _refuse(self._text, name.place, f"more than {_MOST} comparisons are too many")
        if name.kind != "name":
            self._fail("a name such as metrics.rmse, params.alpha, tags.team or status is expected")
        self._next += 1
        group, key = self._split(name)
        if self._take("is"):
            absent = not self._take("not")
            self.expect("null", "`null` or `not null` is expected")
            there = Comparison(group, key, "null", (), name.place)
            return Negation(there) if absent else there
        negated = self._take("not")
        compared = Comparison(group, key, *self._sign_and_values(negated), name.place)
        return Negation(compared) if negated else compared

    def _sign_and_values(self, negated: bool) -> tuple[str, tuple[Literal, ...]]:
        token = self._token
        if token.word in ("like", "ilike"):
            self._next += 1
            return token.word, (self._pattern(),)
        if self._take("in"):
            self.expect("(", "`(` is expected")
            values = [self._value()]
            while self._take(","):
                values.append(self._value())
            self.expect(")", "`,` or `)` is expected")
            return "in", tuple(values)
        if token.text not in _SIGNS or negated:
            others = "like, ilike or in" if negated else "=, !=, <, <=, >, >=, like, ilike, in or is null"
            self._fail(f"{others} is expected")
        self._next += 1
        return _SIGNS[token.text], (self._value(),)

    def _pattern(self) -> str:
        value = self._value() if self._token.kind == "text" else self._fail("a text in quotes is expected")
        assert isinstance(value, str)
        return value

    def _value(self) -> Literal:
        token = self._token
        if token.kind == "number":
            self._next += 1
            return float(token.text)
        if token.kind != "text":
            quoted = (
                f'; write "{token.text}" if that is meant' if token.kind == "name" and "." not in token.text else ""
            )
            self._fail("a number, or a text in quotes, is expected", quoted)
        self._next += 1
        quote = token.text[0]
        return token.text[1:-1].replace(quote * 2, quote)

    def _split(self, token: _Token) -> tuple[str, str]:
        first, dot, rest = token.text.partition(".")
        if not dot:
            return "", first.lower()
        if first.lower() not in GROUPS:
            _refuse(self._text, token.place, f"{first!r} is expected to be metrics, params, tags or attributes")
        key = rest[1:-1] if rest[0] in '`"' else rest
        group = GROUPS[first.lower()]
        return group, key if group else key.lower()

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, word: str) -> bool:
        if self._token.word != word:
            return False
        self._next += 1
        return True

    def expect(self, word: str, message: str) -> None:
        if self._token.kind != word and not self._take(word):
            self._fail(message)

    def _fail(self, message: str, more: str = "") -> NoReturn:
        _refuse(self._text, self._token.place, f"{message}, not {self._token.shown}{more}")


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while True:
        match = _TOKENS.match(text, place)
        if match is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            quote = text[place] in "\"'"
            _refuse(
                text, place, "the text has no closing quote" if quote else f"{text[place]!r} is not understood here"
            )
        kind = str(match.lastgroup)
        yield _Token(kind, match[kind], match.start(kind))
        if kind == "end":
            return
        place = match.end()


def _refuse(text: str, place: int, message: str, hint: str = "") -> NoReturn:
    where = f"in the condition, at character {place + 1}: {message}"
    if "\n" not in text and len(text) <= 200:  # noqa: PLR2004 - a line
        where += f"\n  {text}\n  {' ' * place}^"
    raise UsageError(where, hint=hint or _EXAMPLE)
