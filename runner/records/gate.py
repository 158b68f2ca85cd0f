"""`rmse > 1.05 * @baseline`: a condition on a group's mean metrics beside another group's, for a gate in CI."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import NoReturn

from runner.errors import UsageError
from runner.worker.values import dataclass

Lookup = Callable[[str, str | None], float]  # (metric, group or None for the one that is judged) -> its mean

_TOKENS = re.compile(
    r"""\s*(?:
    (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    |@(?P<group>[^\W\d]\w*|"[^"]*")
    |(?P<name>[^\W\d][\w.]*|`[^`]+`)
    |(?P<sign><=|>=|!=|==|=|[-<>()+*/])
    |(?P<end>\Z)
    )""",
    re.VERBOSE,
)
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}
_SUM = {"+": operator.add, "-": operator.sub}
_DEEPEST = 50
_EXAMPLE = "write a comparison of means, as in: rmse > 1.05 * @baseline or `val/acc` < 0.9"


@dataclass(frozen=True)
class Gate:
    """A condition; ``groups`` are those that it names."""

    text: str
    groups: tuple[str, ...]

    def holds(self, lookup: Lookup) -> bool:
        """Whether it holds; what ``lookup`` raises passes through. UsageError for a division by zero."""
        return _Reader(self.text, lookup).read()


def parse_gate(text: str) -> Gate:
    """Return the condition that a text describes; UsageError says what is expected, and where."""
    named: list[str] = []

    def note(metric: str, group: str | None) -> float:
        del metric
        if group is not None:
            named.append(group)
        return 1.0

    _Reader(text, note, dry=True).read()
    return Gate(text, tuple(dict.fromkeys(named)))


class _Reader:
    """Reads a condition from left to right and works it out on the way; every part is worked out, so all is checked."""

    def __init__(self, text: str, lookup: Lookup, *, dry: bool = False) -> None:
        self._text = text
        self._lookup = lookup
        self._dry = dry
        self._place = self._depth = 0
        self._metric = ""  # the one last named: what @group alone refers to
        self._kind = self._word = ""
        self._advance()

    def read(self) -> bool:
        value = self._either()
        if self._kind != "end":
            self._fail("`and`, `or` or the end is expected")
        return value

    def _either(self) -> bool:
        value = self._both()
        while self._take("or"):
            value = self._both() or value
        return value

    def _both(self) -> bool:
        value = self._comparison()
        while self._take("and"):
            value = self._comparison() and value
        return value

    def _comparison(self) -> bool:
        if self._take("not"):
            return not self._comparison()
        left = self._sum()
        if self._word not in _COMPARE:
            self._fail("a comparison is expected: <, <=, >, >=, = or !=")
        compare = _COMPARE[self._word]
        self._advance()
        return compare(left, self._sum())

    def _sum(self) -> float:
        value = self._product()
        while self._word in _SUM:
            act = _SUM[self._word]
            self._advance()
            value = act(value, self._product())
        return value

    def _product(self) -> float:
        value = self._atom()
        while self._word in ("*", "/"):
            times = self._word == "*"
            self._advance()
            other = self._atom()
            if not times and other == 0 and not self._dry:
                self._fail("a division by zero")
            value = value * other if times else value / (other or 1.0)
        return value

    def _atom(self) -> float:
        kind, word = self._kind, self._word
        if self._take("-"):
            return -self._atom()
        if self._take("("):
            self._depth += 1
            if self._depth > _DEEPEST:
                self._fail(f"more than {_DEEPEST} parentheses stand in one another")
            value = self._sum()
            if not self._take(")"):
                self._fail("`)` is expected")
            return value
        if kind not in ("number", "name", "group") or word in ("and", "or", "not"):
            self._fail("a number, a metric or @GROUP is expected")
        self._advance()
        if kind == "number":
            return float(word)
        if kind == "group":
            if not self._metric:
                self._fail("a metric is expected before @GROUP, which means the same metric there")
            return self._lookup(self._metric, word.strip('"'))
        self._metric = word.strip("`")
        return self._lookup(self._metric, None)

    def _take(self, word: str) -> bool:
        if self._word != word or self._kind not in ("sign", "name"):
            return False
        self._advance()
        return True

    def _advance(self) -> None:
        match = _TOKENS.match(self._text, self._place)
        if match is None:
            self._kind, self._word = "", self._text[self._place :].strip()[:1]
            self._fail(f"{self._word!r} is not understood here")
        self._kind = str(match.lastgroup)
        self._word = match[self._kind]
        self._place = match.end()

    def _fail(self, message: str) -> NoReturn:
        at = self._place - len(self._word) + 1
        where = f"in the condition, at character {max(at, 1)}: {message}"
        raise UsageError(f"{where}\n  {self._text}" if "\n" not in self._text else where, hint=_EXAMPLE)
