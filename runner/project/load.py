"""From a directory to its Project: the MLproject is found, read and checked, and its entry points looked up."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

from runner.environments.choice import Choice
from runner.errors import ProjectError
from runner.project.document import MAPPING, NULL, Node, parse, read_bytes, shown
from runner.project.entries import read_entry, read_environment, read_shared, stopping
from runner.project.model import EntryPoint, Project
from runner.project.reading import Reader, find
from runner.project.suggest import did_you_mean, listed
from runner.worker.hashing import sha256_of

SCRIPTS = (".py", ".sh", ".R")
_NAMES = ("MLproject.yaml", "MLproject.yml")


def load(directory: Path, *, name: str = "") -> Project:
    """Return the project in a directory; ``name`` is its name where it declares none.

    ProjectError names file, line and key of the first error, and what is expected. What only stops runs of one entry
    point is raised by `find_entry_point`.
    """
    name = name or directory.name or directory.resolve().name
    file = find_file(directory)
    if file is None:
        return Project(directory, name)
    data = read_bytes(file, "an MLproject")
    reader = Reader(shown(file))
    project = read_project(reader, parse(data, file), directory, name)
    error = next((finding for finding in reader.findings if finding.entry_point is None), None)
    if error is not None:
        raise ProjectError(error.text, hint=error.hint)
    return replace(project, file=file, sha256=sha256_of(data), findings=tuple(reader.findings))


def find_file(directory: Path) -> Path | None:
    """Return the entry of a directory whose lower-cased name is `mlproject`; None where there is none."""
    found = sorted(name for name in names_in(directory) if name.lower() == "mlproject")
    # Several differ in case only: the usual spelling goes first.
    return directory / ("MLproject" if "MLproject" in found else found[0]) if found else None


def names_in(directory: Path) -> list[str]:
    """Return the names in a project's directory; ProjectError where it cannot be listed."""
    try:
        return os.listdir(directory)  # noqa: PTH208 - names, as they are spelled
    except NotADirectoryError:
        message = f"{shown(directory)} is a file, and a project is a directory"
        raise ProjectError(message, hint="name the directory that holds the MLproject") from None
    except FileNotFoundError:
        message = f"there is no directory {shown(directory)}"
        raise ProjectError(message, hint="name the directory that holds the MLproject") from None
    except OSError as error:
        message = f"{shown(directory)} cannot be listed: {error.strerror}"
        raise ProjectError(message, hint="check its permissions") from None


def read_project(reader: Reader, root: Node, directory: Path, name: str) -> Project:
    """Return what an MLproject's root says; what is wrong with it is in the reader's findings."""
    if root.kind != MAPPING:
        hint = "an MLproject begins with `name: something`"
        reader.expect(root, "", "a mapping with `name` and `entry_points`", hint, "stops with a traceback")
        return Project(directory, name)
    items = root.items
    _refuse_databricks(reader, items.get("databricks_spark_job"))
    choice = read_environment(reader, items, "") or Choice()
    _check_exists(reader, items, choice, directory, "")
    everywhere = read_shared(reader, items, "", "")
    expected = "a mapping from names to commands"
    hint = "write `main: {command: python train.py}` below it"
    nodes = reader.mapping(items.get("entry_points"), "entry_points", expected, hint)
    entry_points = {}
    for entry_name, node in nodes.items():
        if not entry_name.strip():
            reader.say(node.line, "entry_points", "an entry point has no name", code="no-name", hint="name it")
        entry = entry_points[entry_name] = read_entry(reader, entry_name, node, everywhere)
        if entry.environment is not None:
            _check_exists(reader, node.items, entry.environment, directory, f"entry_points.{entry_name}.", entry_name)
    return Project(
        directory,
        reader.scalar(items.get("name"), "name", "a text") or name,
        entry_points=entry_points,
        environment=choice,
        everywhere=everywhere,
    )


def find_entry_point(project: Project, name: str) -> EntryPoint:
    """Return an entry point, or a script of the project that none declares; ProjectError names the known ones."""
    error = stopping(project.findings, name)
    if error is not None:
        raise ProjectError(error.text, hint=error.hint)
    if name in project.entry_points:
        return project.entry_points[name]
    if name.endswith(SCRIPTS) and _is_inside(name) and (project.directory / name).is_file():
        return replace(project.everywhere, name=name, command=_script_command(name), declared=False)
    raise _not_found(project, name)


def _is_inside(name: str) -> bool:
    """Whether a script lies in the project: what does not is in no snapshot, and could not be run again."""
    return not name.startswith("/") and ".." not in name.split("/")


def _script_command(name: str) -> str:
    """The command MLflow has for a script, with its name quoted, and no part of it a placeholder."""
    if name.endswith(".R"):
        source = name.replace("\\", "\\\\").replace("'", "\\'")
        command = f"Rscript -e {shlex.quote(f'''mlflow::mlflow_source('{source}')''')} --args"
    else:
        program = "python" if name.endswith(".py") else os.environ.get("SHELL") or "bash"
        command = f"{shlex.quote(program)} {shlex.quote(name)}"
    return command.replace("{", "{{").replace("}", "}}")


def _not_found(project: Project, name: str) -> ProjectError:
    known = list(project.entry_points)
    if name.endswith(SCRIPTS) and not _is_inside(name):
        message = f"the script {name!r} does not lie in {shown(project.directory)}"
        return ProjectError(message, hint="run the project that it belongs to, or copy it into this one")
    if name.endswith(SCRIPTS):
        message = f"there is no entry point and no file {name!r} in {shown(project.directory)}"
    else:
        message = f"there is no entry point {name!r} in {shown(project.file or project.directory)}"
    message += f"; it has {listed(known)}" if known else "; it declares none"
    return ProjectError(message, hint=did_you_mean(name, known) or _other_ways(project, known))


def _other_ways(project: Project, known: list[str]) -> str:
    names = names_in(project.directory)
    misnamed = next((name for name in _NAMES if name.lower() in {other.lower() for other in names}), None)
    if project.file is None and misnamed:
        found = next(name for name in names if name.lower() == misnamed.lower())
        return f"rename {found} to MLproject: the file has no extension"
    deeper = next((name for name in sorted(names) if _holds_project(project.directory / name)), None)
    if project.file is None and deeper:
        return f"{deeper} holds an MLproject: write {shlex.quote(f'URI#{deeper}')}, or run it by its own path"
    scripts = sorted(name for name in names if name.endswith(SCRIPTS))
    if scripts:
        return f"a script runs without being declared: -e {shlex.quote(scripts[0])}"
    if known:
        return f"name one that is there: -e {shlex.quote(known[0])}"
    return "declare it under `entry_points` in a file named MLproject"


def _holds_project(directory: Path) -> bool:
    try:
        return directory.is_dir() and find_file(directory) is not None
    except (ProjectError, OSError):
        return False


def _refuse_databricks(reader: Reader, node: Node | None) -> None:
    if node is not None and node.kind != NULL:
        message = "a Databricks Spark job runs on Databricks only, which mlrun does not reach"
        hint = "run it with `mlflow run --backend databricks`"
        reader.say(
            node.line, "databricks_spark_job", message, code="databricks", hint=hint, mlflow="hands it to Databricks"
        )


def _check_exists(
    reader: Reader, items: object, choice: Choice, directory: Path, prefix: str, entry_point: str | None = None
) -> None:
    if choice.path and isinstance(items, dict) and not (directory / choice.path).exists():
        message = f"there is no file {choice.path!r} in the project"
        near = did_you_mean(choice.path, [n for n in names_in(directory) if n.endswith((".yaml", ".yml"))])
        hint = near or "create it, or correct the path: it is relative to the MLproject"
        node = find(items, choice.key)
        key = f"{prefix}{choice.key}"
        line = None if node is None else node.line
        reader.say(line, key, message, code="missing-file", hint=hint, mlflow="refuses it too", entry_point=entry_point)
