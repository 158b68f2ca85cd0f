"""`mlrun check`: every error and every surprise of a project's files, and what MLflow would do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.errors import EnvironmentBuildError, ProjectError
from runner.project.declarations import KEYS, KEYWORDS
from runner.project.document import MAPPING, NULL, Node, parse, read_bytes, shown
from runner.project.entries import ENTRY_KEYS, ENVIRONMENTS, SHARED
from runner.project.load import find_file, names_in, read_project
from runner.project.model import ERROR, NOTE, WARNING, EntryPoint, Finding, Project
from runner.project.reading import Reader
from runner.project.suggest import closest
from runner.project.surprises import check_contained, check_parameter
from runner.project.template import check_use, unused
from runner.worker.spec import EnvironmentSpec

TOP_KEYS = ("name", "description", "entry_points", "databricks_spark_job", *ENVIRONMENTS, *SHARED)
RESOURCES = ("cpus", "memory", "gpus", "time")
_PLACE = re.compile(r"^(?P<file>.*?)(:(?P<line>[0-9]+))?: (?P<message>.*)$", re.DOTALL)
# "python_env.yaml, line 3: ..." and "python_env.yaml:3: ...": both are in use.
_LINE = re.compile(r"^(?P<file>[^:,]+?)(?:(?:, line |:)(?P<line>[0-9]+))?: (?P<message>.*)$", re.DOTALL)
_RANK = {ERROR: 0, WARNING: 1, NOTE: 2}


def check(directory: Path) -> tuple[Finding, ...]:
    """Return all there is to say of a project: errors, which stop its runs, warnings, and notes."""
    try:
        file = find_file(directory)
        if file is None:
            return (*_without_file(directory), *_environments(Project(directory, directory.name)))
        reader = Reader(shown(file))
        reader.findings.extend(_several(directory, file))
        root = parse(read_bytes(file, "an MLproject"), file)
    except ProjectError as error:
        return (_as_finding(error),)
    project = read_project(reader, root, directory, directory.name)
    reader.findings.extend(_environments(project))
    if root.kind == MAPPING:
        _check_keys(reader, root)
        _check_environment_files(reader, project)
        for name, entry in project.entry_points.items():
            _check_entry(reader, project, entry, root.items["entry_points"].items[name])
            _check_merged(reader, name, entry, directory)
    return tuple(sorted(dict.fromkeys(reader.findings), key=lambda one: (one.line or 0, _RANK[one.severity])))


def _as_finding(error: ProjectError) -> Finding:
    place = _PLACE.match(error.message)
    if place is None or place["line"] is None:
        return Finding(ERROR, "unreadable", error.message, hint=error.hint, mlflow="stops with a traceback")
    line = int(place["line"])
    return Finding(
        ERROR,
        "unreadable",
        place["message"],
        place["file"],
        line,
        hint=error.hint,
        mlflow="stops, or goes on regardless",
    )


def _without_file(directory: Path) -> Iterator[Finding]:
    misnamed = [name for name in names_in(directory) if name.lower() in ("mlproject.yaml", "mlproject.yml")]
    for name in misnamed:
        message = "it is not read: an MLproject has no extension"
        hint, mlflow = "rename it to MLproject", "does not read it either, and finds no entry points"
        yield Finding(WARNING, "extension", message, shown(directory / name), hint=hint, mlflow=mlflow)
    if not misnamed:
        message = "there is no MLproject: only scripts run, each as an entry point of its own name"
        hint = "write an MLproject to give them names, parameters and an environment"
        yield Finding(NOTE, "no-file", message, shown(directory), hint=hint, mlflow="does the same")


def _several(directory: Path, file: Path) -> Iterator[Finding]:
    others = [name for name in names_in(directory) if name.lower() == "mlproject" and name != file.name]
    for name in sorted(others):
        message = f"it is not read: {file.name} is"
        hint = "keep one of the two"
        yield Finding(
            WARNING, "several-files", message, shown(directory / name), hint=hint, mlflow="reads either of them"
        )


def _check_keys(reader: Reader, root: Node) -> None:
    _unknown(reader, root.items, TOP_KEYS, "")
    entries = root.items.get("entry_points")
    for name, entry in {} if entries is None else entries.items.items():
        prefix = f"entry_points.{name}."
        _unknown(reader, entry.items, ENTRY_KEYS, prefix)
        _unknown_resources(reader, entry, prefix)
        _odd_key(reader, entries, name, "entry_points")
        parameters = entry.items.get("parameters")
        for parameter, node in {} if parameters is None else parameters.items.items():
            place = f"{prefix}parameters.{parameter}."
            _unknown(reader, node.items, (*KEYS, *KEYWORDS), place)
            _odd_key(reader, parameters, parameter, f"{prefix}parameters")
    _unknown_resources(reader, root, "")
    _empty_environments(reader, root, "")
    for name, entry in {} if entries is None else entries.items.items():
        _empty_environments(reader, entry, f"entry_points.{name}.")


def _empty_environments(reader: Reader, owner: Node, prefix: str) -> None:
    for key in ENVIRONMENTS:
        node = owner.items.get(key)
        if node is not None and not node.value:
            message = "it is empty, and as if it were not there"
            reader.say(
                node.line,
                f"{prefix}{key}",
                message,
                code="empty-environment",
                severity=WARNING,
                hint="name the environment, or remove the key",
                mlflow="ignores it too",
            )


def _unknown_resources(reader: Reader, owner: Node, prefix: str) -> None:
    node = owner.items.get("resources")
    if node is not None:
        _unknown(reader, node.items, RESOURCES, f"{prefix}resources.")


def _unknown(reader: Reader, items: Mapping[str, Node], known: tuple[str, ...], prefix: str) -> None:
    for name, node in items.items():
        before, colon, after = name.partition(":")
        if name in known:
            continue
        if colon and before in known and node.kind == NULL:
            code, message = (
                "missing-space",
                f"a space is missing after the colon: YAML reads the key {name!r}, without a value",
            )
            hint = f"write {before}: {after}"
        else:
            close = closest(name, known)
            code, message = "unknown-key", "this key is not known, and ignored"
            hint = f"did you mean {close!r}?" if close else ""
        reader.say(
            node.line, f"{prefix}{name}", message, code=code, severity=WARNING, hint=hint, mlflow="ignores it too"
        )


def _odd_key(reader: Reader, owner: Node | None, name: str, key: str) -> None:
    value = name if owner is None else owner.keys.get(name)
    if owner is not None and not isinstance(value, str):
        message = f"YAML reads this name as {value!r}; here it is the text {name!r}"
        hint = f"write {name!r} in quotes"
        mlflow = "cannot find it by its name"
        reader.say(
            owner.items[name].line,
            f"{key}.{name}",
            message,
            code="yaml-name",
            severity=WARNING,
            hint=hint,
            mlflow=mlflow,
        )


def _check_environment_files(reader: Reader, project: Project) -> None:
    for choice in (project.environment, *(entry.environment for entry in project.entry_points.values())):
        if choice is not None and choice.path and (choice.path.startswith("/") or ".." in choice.path.split("/")):
            message = f"{choice.path!r} lies outside the project, so it is no part of what a run keeps of it"
            hint = "move it into the project"
            reader.say(
                None, choice.key, message, code="outside", severity=WARNING, hint=hint, mlflow="reads it where it is"
            )


def _environments(project: Project) -> Iterator[Finding]:
    """What planning finds in the environments' own files."""
    from runner.environments.locks import inspect
    from runner.environments.plan import plan

    own = [entry.environment for entry in project.entry_points.values() if entry.environment is not None]
    for choice in dict.fromkeys((project.environment, *own)):
        if choice.path and not (project.directory / choice.path).exists():
            continue  # an error that is known already
        try:
            planned = plan(project.directory, choice, caller_environ=choice.blank)
            inspect(project.directory, planned.spec)
        except (ProjectError, EnvironmentBuildError) as error:
            for each in (error, *getattr(error, "others", ())):
                yield _in_project(project.directory, ERROR, each.message, each.hint)
            continue
        for warning in planned.warnings:
            yield _in_project(project.directory, WARNING, warning, "")
        yield from _unsupported(project, planned.spec)


def _unsupported(project: Project, environment: EnvironmentSpec) -> Iterator[Finding]:
    """A project is no worse for what this machine cannot run: a warning. A name that is none is an error anywhere."""
    from runner.worker.containers.engines import find
    from runner.worker.containers.images import refuse_odd

    if environment.kind != "container":
        return
    place = shown(project.file or project.directory)
    try:
        refuse_odd(environment.image or "")
    except EnvironmentBuildError as error:
        yield Finding(
            ERROR, "image", error.message, place, hint=error.hint, mlflow="fails when it starts the container"
        )
        return
    try:
        find("", os.environ)
    except EnvironmentBuildError as error:
        yield Finding(WARNING, "not-supported", error.message, place, hint=error.hint, mlflow="runs it")


def _in_project(directory: Path, severity: str, text: str, hint: str) -> Finding:
    place = _LINE.match(text)
    if place is None or not (directory / place["file"]).exists():
        return Finding(severity, "environment", text, shown(directory), hint=hint)
    file, line = shown(directory / place["file"]), place["line"]
    return Finding(severity, "environment", place["message"], file, int(line) if line else None, hint=hint)


def _check_entry(reader: Reader, project: Project, entry: EntryPoint, node: Node) -> None:
    key = f"entry_points.{entry.name}"
    command = node.items.get("command")
    nodes = node.items["parameters"].items if entry.parameters else {}
    for name, declaration in entry.parameters.items():
        check_parameter(reader, project, declaration, nodes[name], f"{key}.parameters.{name}")
    for name in unused(entry.command, entry.parameters):
        message = "it is declared, and the command does not use it"
        hint = f"write {{{name}}} where its value belongs, or remove it"
        line = entry.parameters[name].line
        reader.say(
            line,
            f"{key}.parameters.{name}",
            message,
            code="unused",
            severity=WARNING,
            hint=hint,
            mlflow="drops its value too",
        )
    if command is not None and entry.command:
        check_contained(reader, project, entry, command)
        for use in check_use(entry.command, entry.parameters):
            line = command.line + 1 + use.line if command.block else command.line
            reader.say(
                line,
                f"{key}.command",
                use.message,
                code=use.code,
                severity=use.severity,
                hint=use.hint,
                mlflow=use.mlflow,
            )


def _check_merged(reader: Reader, name: str, entry: EntryPoint, directory: Path) -> None:
    for path in entry.inputs:
        if not any(c in path for c in "*?[") and not (directory / path).exists():
            message = f"the input {path!r} does not exist now"
            key = f"entry_points.{name}.inputs"
            reader.say(
                entry.line,
                key,
                message,
                code="missing-input",
                severity=WARNING,
                hint="it has to be there when the run starts",
            )
