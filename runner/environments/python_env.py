"""python_env.yaml: `python`, `build_dependencies`, `dependencies`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from runner.environments.document import Document, read
from runner.environments.requirements import Line
from runner.errors import ProjectError
from runner.worker.environment.interpreters import versions
from runner.worker.values import dataclass

T = TypeVar("T")

_KEYS = ("python", "build_dependencies", "dependencies")


@dataclass(frozen=True)
class PythonEnv:
    """What a python_env.yaml says."""

    python: str | None
    build: tuple[Line, ...]
    dependencies: tuple[Line, ...]
    warnings: tuple[str, ...]


def read_python_env(path: Path, name: str) -> PythonEnv:
    """Return what a python_env.yaml says; ProjectError names file, line and key."""
    document = read(path, name)
    wrong: list[ProjectError] = []
    nothing: tuple[str | None, list[str]] = (None, [])
    python, warnings = _attempt(partial(_python, document), wrong, nothing)
    lists = [_lines(document, key, wrong) for key in ("build_dependencies", "dependencies")]
    if wrong:
        wrong[0].others = tuple(wrong[1:])
        raise wrong[0]
    return PythonEnv(python, lists[0], lists[1], (*warnings, *document.unknown(_KEYS)))


def _lines(document: Document, key: str, wrong: list[ProjectError]) -> tuple[Line, ...]:
    nothing: tuple[Line, ...] = ()
    return _attempt(partial(lines_of, document, key), wrong, nothing)


def _attempt(read_part: Callable[[], T], wrong: list[ProjectError], instead: T) -> T:
    """Read a part of the file, and note what is wrong there: the other parts are read as well."""
    try:
        return read_part()
    except ProjectError as error:
        wrong.append(error)
        return instead


def lines_of(document: Document, key: str) -> tuple[Line, ...]:
    """Return a list of requirement lines with their places."""
    return tuple(Line(one.text, f"{document.file}, line {one.line}") for one in document.texts(key))


def _python(document: Document) -> tuple[str | None, list[str]]:
    found = document.text("python")
    if found is None or not found.text:
        return None, []
    problem = versions.problem(found.text)
    if problem is not None:
        hint = 'write a version in quotes: "3.11", "3.11.7" or ">=3.10,<3.12"'
        message = f"{document.file}, line {found.line}: python: {problem}"
        raise ProjectError(message, hint=hint)
    refuse_too_old(found.text, f"{document.file}, line {found.line}: python")
    if not found.is_number:
        return found.text, []
    meant = f"{document.file}, line {found.line}: python: {found.text} without quotes is a number in YAML"
    read_as = f" ({float(found.text)})" if str(float(found.text)) != found.text else ""
    return found.text, [f'{meant}{read_as}; it is taken as "{found.text}": put it in quotes, MLflow refuses it']


def refuse_too_old(version: str, place: str) -> None:
    """Raise ProjectError where no virtual environment can be made for a version of Python."""
    if versions.too_old(version):
        message = f"{place}: {version} is too old: virtual environments are made for Python 3.6 and newer"
        hint = (
            f"name a newer one, or take another kind of environment: `python={version}` in a conda.yaml, a docker_env"
        )
        raise ProjectError(message, hint=hint)
