"""The command of a run: its template checked, filled in with shell-quoted values, and handed to bash."""

from __future__ import annotations

import os
import shlex
import string
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from runner.errors import ProjectError
from runner.worker.spec import Parameter
from runner.worker.values import dataclass

_LONGEST = 131_071  # bytes of one argument: MAX_ARG_STRLEN of Linux, less the final NUL
_NESTED = 2  # how deep str.format lets a placeholder stand in the format of another
_SAMPLE = "value"  # what `check_template` fills in for every parameter
_BRACES = "braces name parameters; write {{ and }} where they are meant as they are"
_FORMATTER = string.Formatter()


@dataclass(frozen=True)
class Fault:
    """A reason why a template cannot be filled in."""

    message: str
    hint: str = ""
    line: int = 0  # of the template, counted from 0
    name: str = ""  # the placeholder's


def render(template: str, parameters: Sequence[Parameter], places: Mapping[str, str]) -> str:
    """Return the shell text of a command: `str.format` over quoted values, then `--name value` for each extra.

    ``places`` maps the name of an Input to where it lies on this host. ProjectError where the text cannot be made, or
    cannot reach a process.
    """
    fields = {parameter.name: _quoted(parameter, places) for parameter in parameters if parameter.source != "extra"}
    try:
        text = _fill(without_end(template), fields, _NESTED)
    except _Refused as refused:
        raise ProjectError(refused.fault.message, hint=refused.fault.hint) from None
    extras = [
        f"--{shlex.quote(parameter.name)} {_quoted(parameter, places)}"
        for parameter in parameters
        if parameter.source == "extra"
    ]
    return _sendable(" ".join([text, *extras]), parameters)


def check_template(template: str, names: Collection[str]) -> tuple[Fault, ...]:
    """Return every reason why a template cannot be filled in where parameters of these names are declared."""
    faults: list[Fault] = []
    line = 0
    pieces = iter(_FORMATTER.parse(without_end(template)))
    fields = dict.fromkeys(names, _SAMPLE)
    while True:
        try:
            piece = next(pieces, None)
        except ValueError as error:
            return (*faults, _broken(str(error), line))
        if piece is None:
            return tuple(faults)
        try:
            _fill_field(piece, fields, _NESTED)
        except _Refused as refused:
            fault = refused.fault
            faults.append(Fault(fault.message, fault.hint, line + piece[0].count("\n"), fault.name))
        line += sum(part.count("\n") for part in piece if part)


def without_end(template: str) -> str:
    """Return a template without its final newlines, and without a line continuation that they would end.

    What is appended then belongs to the last line of a `command: |` block.
    """
    text = template.rstrip("\n")
    if text != template and (len(text) - len(text.rstrip("\\"))) % 2:
        return without_end(text[:-1] + "\n")
    return text


def shell_argv(text: str, strict: bool) -> tuple[str, ...]:
    """Return the argv that runs a rendered command; strict: it ends at the first failure, in a pipe too."""
    return ("bash", "-e", "-o", "pipefail", "-c", text) if strict else ("bash", "-c", text)


class _Refused(Exception):  # noqa: N818 - it carries a fault, and never leaves this module
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def _quoted(parameter: Parameter, places: Mapping[str, str]) -> str:
    if parameter.words is not None:
        return " ".join(shlex.quote(word) for word in parameter.words)
    if parameter.input is not None and parameter.input in places:
        return shlex.quote(places[parameter.input])
    return shlex.quote(parameter.raw)


def _fill(template: str, fields: Mapping[str, str], depth: int) -> str:
    try:
        return "".join(_fill_field(piece, fields, depth) for piece in _FORMATTER.parse(template))
    except ValueError as error:
        raise _Refused(_broken(str(error), 0)) from None


def _fill_field(piece: tuple[Any, ...], fields: Mapping[str, str], depth: int) -> str:
    """Return a piece of a template as `string.Formatter.parse` yields it: literal, name, format, conversion."""
    literal, name, specification, conversion = piece
    if name is None:
        return str(literal)
    if depth == 0:
        raise _Refused(Fault(f"the placeholder {{{name}}} is nested too deeply", _BRACES, name=name))
    value = _look_up(name, fields, str(literal))
    layout = _fill(specification or "", fields, depth - 1)
    try:
        return str(literal) + format(_FORMATTER.convert_field(value, conversion), layout)
    except (ValueError, MemoryError, OverflowError) as error:
        message = f"the placeholder {{{name}}} cannot be laid out: {error}"
        raise _Refused(Fault(message, f"values are text: write {{{name}}} alone", name=name)) from None


def _look_up(name: str, fields: Mapping[str, str], before: str) -> str:
    if name in fields:
        return fields[name]
    # As in MLflow {name[0]} is a character of the quoted text; attributes of text are nothing a command can use.
    if "[" in name and name.partition("[")[0] in fields:
        try:
            value, _ = _FORMATTER.get_field(name, (), fields)
        except (LookupError, TypeError, ValueError, AttributeError):
            value = None
        if isinstance(value, str):
            return value
    raise _Refused(_undeclared(name, fields, before))


def _undeclared(name: str, fields: Mapping[str, str], before: str) -> Fault:
    if not name:
        return Fault("the command has a placeholder without a name: {}", _BRACES)
    message = f"the command uses {{{name}}}, which is not a declared parameter"
    if before.endswith("$"):
        return Fault(
            f"the command uses ${{{name}}}, and {{{name}}} is not a declared parameter", _doubling(name), 0, name
        )
    close = _close_match(name, fields)
    if close:
        return Fault(message, f"did you mean {{{close}}}?", 0, name)
    if not name.replace("_", "a").replace(".", "a").replace("-", "a").isalnum():
        return Fault(message, _BRACES, 0, name)
    return Fault(message, f"declare {name} under `parameters`, or write {{{{{name}}}}} for literal braces", 0, name)


def _doubling(name: str) -> str:
    return f"for the shell's own variable double the braces: ${{{{{name}}}}}"


def _close_match(name: str, names: Collection[str]) -> str:
    import difflib

    return next(iter(difflib.get_close_matches(name, list(names), 1)), "")


def _broken(reason: str, line: int) -> Fault:
    reason = reason.replace("in format string", "").replace("format string", "command").strip()
    return Fault(f"the command cannot be read as a template: {reason[:1].lower()}{reason[1:]}", _BRACES, line)


def _sendable(text: str, parameters: Sequence[Parameter]) -> str:
    if "\0" in text:
        guilty = next((p.name for p in parameters if any("\0" in word for word in (p.raw, *(p.words or ())))), None)
        where = "the command" if guilty is None else f"the value of {guilty!r}"
        message = f"{where} holds a NUL byte, which no process can be given"
        raise ProjectError(message, hint="pass the data in a file, as a `path` parameter")
    try:
        size = len(os.fsencode(text))
    except UnicodeEncodeError as error:
        message = f"the command holds {text[error.start]!a}, which is no character"
        raise ProjectError(message, hint="pass the data in a file, as a `path` parameter") from None
    if size > _LONGEST and sys.platform == "linux":
        message = f"the command is {size:,} bytes long, and Linux takes at most {_LONGEST:,} in one argument"
        raise ProjectError(message, hint="pass long values in a file, as a `path` parameter")
    return text
