"""Uses of parameters in a command that work, but not as their author may think."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping

from runner.project.model import NOTE, WARNING, Declaration
from runner.worker.command import without_end
from runner.worker.values import dataclass

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}!:\[]*)(?P<rest>[^{}]*)\}")


@dataclass(frozen=True)
class Use:
    """Something to know of a command; ``line`` counts in the template, from 0."""

    severity: str
    code: str
    message: str
    line: int
    hint: str = ""
    mlflow: str = ""


def check_use(command: str, parameters: Mapping[str, Declaration]) -> tuple[Use, ...]:
    """Return what to know of a command whose placeholders are declared; others are errors, and found elsewhere."""
    template = without_end(command)
    uses = list(_placeholders(template, parameters))
    if template != command and not command.rstrip("\n").endswith("\\"):
        message = "values that are not declared are appended to the last line"
        mlflow = "runs them as a line of their own, after the final newline of the block"
        uses.append(Use(NOTE, "final-newline", message, template.count("\n"), "", mlflow))
    return tuple(uses)


def _placeholders(template: str, parameters: Mapping[str, Declaration]) -> Iterator[Use]:
    quote, begin = "", 0
    for found in _PLACEHOLDER.finditer(template):
        quote, begin = _quote(template[begin : found.start()], quote), found.end()
        name = found["name"]
        if name is None:
            continue
        known = name + found["rest"] if name + found["rest"] in parameters else name
        if known not in parameters:
            continue
        line = template.count("\n", 0, found.start())
        yield from _around(found[0], template[: found.start()], quote, line)
        if "." in known or known.isdecimal():
            mlflow = "stops with a traceback (it takes them apart, as str.format does)"
            yield Use(NOTE, "dotted-name", f"names such as {{{known}}} are read as they are", line, "", mlflow)
        elif found["rest"] and known == name:
            message = f"{found[0]} works on the quoted text of the value, not on the value"
            yield Use(WARNING, "text-layout", message, line, f"write {{{name}}}", "does the same")


def _around(placeholder: str, before: str, quote: str, line: int) -> Iterator[Use]:
    if quote:
        message = f"{placeholder} stands in quotes, and its value is quoted by itself: quoted twice"
        hint = "leave the quotes away; simple values work either way"
        yield Use(WARNING, "quoted-twice", message, line, hint, "quotes it twice as well")
    if before.endswith("$"):
        message = f"${placeholder} puts a `$` before the value"
        hint = f"write {placeholder} for the parameter, ${{{placeholder}}} for the shell's variable"
        yield Use(WARNING, "dollar-brace", message, line, hint, "does the same")


def _quote(text: str, quote: str) -> str:
    """Return the quote that is open behind a piece of shell text, where ``quote`` was open before it."""
    escaped = comment = False
    before = " "
    for char in text:
        comment = char != "\n" if comment else not quote and char == "#" and before.isspace()
        before = char
        if comment:
            continue
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
    return quote


def unused(command: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that no placeholder of a command uses."""
    used = set()
    try:
        for _, name, layout, _ in string.Formatter().parse(command):
            used |= {name, (name or "").partition("[")[0], *re.findall(r"\{([^{}]*)\}", layout or "")}
    except ValueError:
        return ()
    return tuple(name for name in names if name not in used)
