"""Surprises of declared parameters: what YAML made of a default, types that are none, paths that are not there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runner.project import paths
from runner.project.declarations import CHECKED, TYPES, truth
from runner.project.document import MAPPING, NULL, SEQUENCE, Node
from runner.project.model import NOTE, WARNING, Declaration, EntryPoint, Project
from runner.project.reading import Reader
from runner.project.suggest import closest

_SHELL = re.compile(r"[&|;<>\n`]|\$\(")  # what makes a shell do more than run one program


def check_parameter(reader: Reader, project: Project, one: Declaration, node: Node, key: str) -> None:
    """Report what will surprise about a declared parameter."""
    if "=" in one.name:
        message, mlflow = "-P splits at the first `=`: no value can be given", "cannot be given a value either"
        reader.say(node.line, key, message, code="equals-sign", severity=WARNING, hint="rename it", mlflow=mlflow)
    if one.type not in TYPES:
        close = closest(one.type, TYPES)
        message = f"the type {one.type!r} is not known, so values are text that is not checked"
        hint = f"did you mean {close!r}?" if close else "types are " + ", ".join(TYPES)
        if node.kind != MAPPING and not one.type.isidentifier():
            hint = f"for a default write {{type: string, default: {one.type}}}"
        reader.say(
            node.line, key, message, code="unknown-type", severity=WARNING, hint=hint, mlflow="takes any type as text"
        )
    default = node.items.get("default")
    if default is not None:
        _check_default(reader, project, one, default, f"{key}.default")
    if one.keywords and one.type == "path":
        message = "keywords of JSON Schema are compared with the path as it is given, before it becomes absolute"
        reader.say(node.line, key, message, code="keywords", severity=NOTE, mlflow="ignores them")


def _check_default(reader: Reader, project: Project, one: Declaration, node: Node, key: str) -> None:
    if node.kind == NULL:
        message = "a null default is none: the parameter is required"
        hint = 'write "" for an empty text, or leave `default` out'
        reader.say(node.line, key, message, code="null-default", severity=WARNING, hint=hint, mlflow="requires it too")
        return
    for message, hint in _surprises(one, node):
        reader.say(
            node.line, key, message, code="yaml-default", severity=WARNING, hint=hint, mlflow="passes the same text"
        )
    for fault in _faults_of_default(one):
        message = f"the default does not meet its own declaration: {fault}"
        reader.say(
            node.line,
            key,
            message,
            code="default-misfit",
            severity=WARNING,
            hint="a run with the default goes on",
            mlflow="runs",
        )
    if one.type == "path" and one.default and not paths.is_remote(one.default):
        _check_path(reader, project, one, node, key)
    if one.type == "uri" and one.default and ":" not in one.default:
        message = f"the default {one.default!r} has no scheme: a run without -P {one.name}=URI fails"
        reader.say(node.line, key, message, code="no-scheme", severity=WARNING, mlflow="fails too")


def _surprises(one: Declaration, node: Node) -> Iterator[tuple[str, str]]:
    """What YAML made of a default that its author may not expect."""
    if node.kind == SEQUENCE and one.type != "list":
        yield f"the command gets this list as one text, {one.default}", "write `type: list` for one word each"
    elif node.kind == MAPPING:
        yield f"the command gets this mapping as one text, {one.default}", "quote it"
    elif node.text == "None":
        yield "this is the text None, not the absence of a value", "leave `default` out to require a value"
    elif node.plain and one.default != node.text and not _same_number(one, node):
        yield (
            f"YAML 1.1 reads {node.text} as {node.value!r}: the command gets {one.default}",
            f"quote it: '{node.text}'",
        )


def _same_number(one: Declaration, node: Node) -> bool:
    if one.type == "bool":
        return truth(node.text) is truth(one.default or "") and node.text.lower() in ("true", "false")
    if one.type not in ("int", "float"):
        return False
    try:
        return bool(float(node.text) == float(node.value))
    except (ValueError, TypeError, OverflowError):
        return False


def _faults_of_default(one: Declaration) -> tuple[str, ...]:
    if one.default is None or not (one.type in CHECKED or one.keywords):
        return ()
    from runner.project.checking import faults

    return faults(one, one.default, one.words)


def _check_path(reader: Reader, project: Project, one: Declaration, node: Node, key: str) -> None:
    inside = project.directory / (one.default or "")
    if not inside.exists():
        message = f"the default {one.default!r} does not exist in the project"
        hint = "it is looked for in the caller's directory first, then in the project"
        reader.say(
            node.line,
            key,
            message,
            code="missing-path",
            severity=WARNING,
            hint=hint,
            mlflow="looks in the caller's directory only",
        )
    elif not (one.default or "").startswith(("/", "file:")):
        message = "it is looked for in the caller's directory first, then in the project"
        mlflow = "looks in the caller's directory only: it fails unless one stands in the project"
        reader.say(node.line, key, message, code="path-default", severity=NOTE, mlflow=mlflow)


def check_contained(reader: Reader, project: Project, entry: EntryPoint, node: Node) -> None:
    """Report where a command in a container is not what MLflow makes of it."""
    choice = project.environment if entry.environment is None else entry.environment
    if choice is None or choice.key != "docker_env" or not _SHELL.search(entry.command.strip()):
        return
    message = "the whole command runs in the container, by its shell"
    mlflow = (
        "has a shell outside of the container read it: what follows a `&&`, `;`, `|` or `>` runs and lands out there"
    )
    key = f"entry_points.{entry.name}.command"
    reader.say(node.line, key, message, code="contained-shell", severity=NOTE, mlflow=mlflow)
