"""conda.yaml: `channels`, `dependencies` with their `pip:` list; and what of it a virtual environment can hold."""

from __future__ import annotations

import re
from pathlib import Path

from runner.environments.document import Document, Text, read
from runner.environments.requirements import Line
from runner.errors import ProjectError
from runner.worker.environment import versions
from runner.worker.values import dataclass

_PACKAGE = re.compile(r"^(?:[\w./-]+::)?(?P<name>[A-Za-z0-9_.-]+)\s*(?P<version>[=<>!~ ].*)?$")
_BUILD = ("pip", "setuptools", "wheel")
_PYTHON = "python"


@dataclass(frozen=True)
class CondaEnv:
    """What a conda.yaml says."""

    file: str
    channels: tuple[str, ...]
    packages: tuple[str, ...]  # as written, python among them
    pip: tuple[Line, ...]
    python: str | None
    build: tuple[Line, ...]  # pip, setuptools, wheel: what has the same name on a package index
    warnings: tuple[str, ...]

    def dropped(self) -> tuple[str, ...]:
        """Return the warning for what only conda can install."""
        others = [text for text in self.packages if _name(text) not in (_PYTHON, *_BUILD)]
        if not others:
            return ()
        return (f"{self.file}: only conda has these, and they are left out: {', '.join(others)}",)


def read_conda_env(path: Path, name: str) -> CondaEnv:
    """Return what a conda.yaml says; ProjectError names file, line and key."""
    document = read(path, name)
    packages, pip = _dependencies(document)
    python, warnings = _python(document, packages)
    return CondaEnv(
        file=name,
        channels=tuple(one.text for one in document.texts("channels")),
        packages=tuple(one.text for one in packages),
        pip=tuple(Line(one.text, f"{name}, line {one.line}") for one in pip),
        python=python,
        build=tuple(_build(name, one) for one in packages if _name(one.text) in _BUILD),
        warnings=tuple(warnings),
    )


def _dependencies(document: Document) -> tuple[list[Text], list[Text]]:
    packages: list[Text] = []
    pip: list[Text] = []
    for item in document.items("dependencies"):
        if isinstance(item, Text):
            packages.append(item)
        elif list(item.nodes) == ["pip"]:
            pip += item.texts("pip")
        else:
            key = next(key for key in item.nodes if key != "pip")
            raise item.wrong(
                key, "a conda package, or a `pip:` list, is expected", hint="write `name=version`, without a colon"
            )
    return packages, pip


def _python(document: Document, packages: list[Text]) -> tuple[str | None, list[str]]:
    found = next((one for one in packages if _name(one.text) == _PYTHON), None)
    if found is None:
        return None, [f"{document.file} names no python; mlrun's own version is used"]
    version = _version(found.text)
    if version is None:
        return None, [f"{document.file}, line {found.line}: python has no version; mlrun's own is used"]
    problem = versions.problem(version)
    if problem is not None:
        message = f"{document.file}, line {found.line}: {problem}"
        raise ProjectError(message, hint="write `python=3.11`")
    return version, []


def _build(file: str, one: Text) -> Line:
    version = _version(one.text)
    bare = version is not None and (version[0].isdigit())
    return Line(_name(one.text) + (f"=={version}" if bare else version or ""), f"{file}, line {one.line}")


def _name(text: str) -> str:
    match = _PACKAGE.match(text)
    return match.group("name").lower() if match else text


def _version(text: str) -> str | None:
    """Return a conda pin in pip's words: "3.8.13" of `=3.8.13=h12debd9_0` and of `==3.8.13`, else the range."""
    match = _PACKAGE.match(text)
    version = (match.group("version") or "").strip() if match else ""
    exact = re.match(r"^(?:={1,2})?\s*(\d[\w.]*?)(?:\.\*)?(?:[=\s]\S+)?$", version)
    return exact.group(1) if exact else version or None
