"""From the values a user gives to the parameters of a run: complete, checked, and each in the text the command gets."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from runner.errors import ProjectError, UsageError
from runner.project import paths
from runner.project.declarations import CHECKED, truth
from runner.project.document import BOOLEAN, MAPPING, NULL, SEQUENCE, TEXT, Node, parse, read_bytes, shown
from runner.project.model import Declaration, EntryPoint
from runner.project.suggest import closest
from runner.sources.uri import strip_userinfo
from runner.worker.spec import Input, Parameter
from runner.worker.values import dataclass

_PARAMS_FILE_CAP = 8 << 20  # bytes


@dataclass(frozen=True)
class Values:
    """What a user gives: `-P` in its order, and the content of --params-file, which `-P` overrides."""

    given: tuple[tuple[str, str], ...] = ()
    file: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Resolved:
    """The parameters of a run, the inputs that are known of it, and where the values of `path` parameters lie."""

    parameters: tuple[Parameter, ...]
    inputs: tuple[Input, ...]
    places: Mapping[str, str]  # Input.name -> absolute path on this host


@dataclass(frozen=True)
class _Value:
    """A value before it is checked: as one text, as the words of a list, and where it is from."""

    text: str
    words: tuple[str, ...]
    source: str


def parse_assignments(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Split each `name=value` at its first `=`; UsageError where there is none, or no name before it."""
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            message = f"a parameter is given as NAME=VALUE, not as {text!r}"
            raise UsageError(message, hint=f"write -P {shlex.quote(name or 'NAME')}=VALUE")
        pairs.append((name, value))
    return tuple(pairs)


def read_params_file(path: Path, warn: Callable[[str], None] = lambda _: None) -> Mapping[str, Any]:
    """Return the values of a YAML or JSON file by name, in the file's order; null is as if absent. `-`: standard input.

    ProjectError names file and line. YAML makes of a value what it makes of a default, and ``warn`` hears where that
    is another value; the numbers of a `.json` file stay as they are written.
    """
    path = Path("/dev/stdin") if str(path) == "-" else path
    data = read_bytes(path, "a parameters' file", _PARAMS_FILE_CAP, pipes=True)
    if path.suffix.lower() == ".json":
        from runner.project.jsonfile import parse_json

        return parse_json(data, path)
    root = parse(data, path)
    if root.kind != MAPPING:
        message = f"{shown(path)}:{root.line}: a mapping from names to values is expected, not {root.described}"
        raise ProjectError(message, hint="write `alpha: 0.5`, one parameter a line")
    for name, node in root.items.items():
        for each in (node, *node.elements):
            if is_mangled(each):
                place = f"{shown(path)}:{each.line}: {name}"
                warn(f"{place}: YAML reads {each.text} as {each.value}; quote it: '{each.text}'")
    return {name: _plain(node, name, path) for name, node in root.items.items() if node.value is not None}


def is_mangled(node: Node) -> bool:
    """Whether YAML made another value of a text without quotes: 8 of 010, True of yes, 750 of 12:30."""
    if not node.plain or node.kind in (NULL, TEXT) or str(node.value) == node.text:
        return False
    if node.kind == BOOLEAN:
        return node.text.lower() not in ("true", "false")
    try:
        return float(node.text) != float(node.value)
    except (ValueError, TypeError, OverflowError):
        return True


def _plain(node: Node, name: str, path: Path) -> Any:
    if any(part.kind == MAPPING for part in (node, *node.elements)):
        message = f"{shown(path)}:{node.line}: {name}: a value or a list is expected, not {node.described}"
        raise ProjectError(message, hint="parameters stand at the top of the file, not under an entry point")
    if node.kind == SEQUENCE:
        return [element.value for element in node.elements]
    return node.value


def resolve(
    entry: EntryPoint,
    values: Values,
    *,
    caller: Path,
    project: Path,
    downloads: Path,
    logged: paths.Logged | None = None,
    validate: bool = True,
) -> Resolved:
    """Return the parameters of a run: declared ones in their order, then extras in the user's.

    ``caller`` is what relative `path` values refer to, ``project`` what their defaults may refer to as well,
    ``downloads`` takes remote ones, and ``logged`` finds what runs logged (`runs:/ID/PATH`). ProjectError names all
    required values that are missing, and all that are wrong; UsageError a name given twice that is no list.
    """
    found = {**_from_file(values.file), **_from_words(entry, values.given)}
    _refuse_missing(entry, found)
    declared = [
        _declared(declaration, found.get(name, _default(declaration))) for name, declaration in entry.parameters.items()
    ]
    _refuse_wrong(entry, declared, validate)
    extras = [_extra(name, value) for name, value in found.items() if name not in entry.parameters]
    inputs: list[Input] = []
    places: dict[str, str] = {}
    parameters = []
    for parameter in declared:
        if parameter.type == "path":
            place, parameter = _locate(parameter, caller, project, downloads, logged)  # noqa: PLW2901
            inputs.append(Input(parameter.name, paths.relative(place, project), parameter.name))
            places[parameter.name] = place
        elif parameter.type == "uri":
            paths.expect_uri(parameter.name, parameter.raw)
        parameters.append(parameter)
    known = {item.name: item.path for item in inputs}
    inputs += [_input(path, known) for path in entry.inputs if known.get(path) != path]
    return Resolved((*parameters, *extras), tuple(inputs), places)


def _from_file(file: Mapping[str, Any]) -> dict[str, _Value]:
    return {
        name: _Value(str(value), tuple(map(str, value)) if isinstance(value, list) else (str(value),), "file")
        for name, value in file.items()
        if value is not None
    }


def _from_words(entry: EntryPoint, given: Sequence[tuple[str, str]]) -> dict[str, _Value]:
    found: dict[str, _Value] = {}
    for name, text in given:
        declaration = entry.parameters.get(name)
        if name in found and (declaration is None or declaration.type != "list"):
            message = f"the parameter {name!r} is given twice"
            raise UsageError(message, hint="give it once; only a parameter of type list takes several values")
        words = found[name].words if name in found else ()
        found[name] = _Value(text, (*words, text), "given")
    return found


def _default(declaration: Declaration) -> _Value:
    return _Value(declaration.default or "", declaration.words or (), "default")


def _refuse_missing(entry: EntryPoint, found: Mapping[str, _Value]) -> None:
    missing = [name for name, one in entry.parameters.items() if one.required and name not in found]
    if not missing:
        return
    names = ", ".join(repr(name) for name in missing)
    message = f"the entry point {entry.name!r} needs a value for {names}"
    unknown = [name for name in found if name not in entry.parameters]
    meant = next((name for name in unknown if closest(name, missing)), None)
    hint = "give " + " ".join(f"-P {shlex.quote(name)}=..." for name in missing)
    if meant is not None:
        hint = f"did you mean {closest(meant, missing)!r} where you gave {meant!r}?"
    raise ProjectError(message, hint=hint)


def _declared(declaration: Declaration, value: _Value) -> Parameter:
    """Return a declared parameter; a list has its words, a flag those it stands for, anything else is one text."""
    raw, words = value.text, None
    if declaration.type == "list":
        raw, words = shlex.join(value.words), value.words
    elif declaration.flag is not None:
        words = declaration.flag if truth(raw) else ()
    given = None if value.source == "default" else value.words if declaration.type == "list" else raw
    return Parameter(
        name=declaration.name,
        type=declaration.type,
        raw=raw,
        given=given,
        default=declaration.default,
        source=value.source,
        words=words,
    )


def _extra(name: str, value: _Value) -> Parameter:
    return Parameter(name=name, type="string", raw=value.text, given=value.text, source="extra")


def _refuse_wrong(entry: EntryPoint, parameters: Sequence[Parameter], validate: bool) -> None:
    # What a flag stands for is told by its value: that one is checked in any case.
    checked = [p for p in parameters if validate or entry.parameters[p.name].flag is not None]
    faults = [f"{p.name}: {fault}" for p in checked for fault in _faults(entry.parameters[p.name], p)]
    if faults:
        hint = "--no-validate runs with the values as they are" if validate else "give true or false"
        raise ProjectError("; ".join(faults), hint=hint)


def _faults(declaration: Declaration, parameter: Parameter) -> tuple[str, ...]:
    """Return what is wrong with a value; a value equal to the default always passes."""
    if parameter.source == "default" or parameter.raw == declaration.default:
        return ()
    if declaration.type in CHECKED or declaration.keywords or declaration.flag is not None:
        from runner.project.checking import faults

        return faults(declaration, parameter.raw, parameter.words)
    return ()


def _locate(
    parameter: Parameter, caller: Path, project: Path, downloads: Path, logged: paths.Logged | None
) -> tuple[str, Parameter]:
    from dataclasses import replace

    place = paths.locate(parameter, caller, project, downloads, logged)
    given = parameter.given
    if isinstance(given, str):
        given = strip_userinfo(given)
    return place, replace(parameter, raw=place, given=given, input=parameter.name)


def _input(path: str, known: Mapping[str, str]) -> Input:
    # A `path` parameter may have the name of a declared input: names of inputs are unique.
    return Input(f"./{path}" if path in known else path, path)
