"""conda.yaml: `channels`, `dependencies` with their `pip:` list; and what of it a virtual environment can hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.environments.document import Document, Text, read
from runner.environments.python_env import refuse_too_old
from runner.environments.requirements import Line
from runner.errors import ProjectError
from runner.worker.environment.interpreters import versions
from runner.worker.values import dataclass

_PACKAGE = re.compile(r"^(?:(?P<channel>[^\[]+?)::)?(?P<name>[A-Za-z0-9_.-]+)\s*(?P<version>[=<>!~ \[].*)?$")
_SUBDIR = re.compile(
    r"/(noarch|(linux|osx|win|freebsd|zos|emscripten|wasi)-[a-z0-9]+)$"
)  # of `conda-forge/noarch::six`
_BRACKETS = re.compile(r"^(?P<version>[^\[]*)\[(?P<pairs>.*)\]$")  # of `python[version=">=3.8", build=...]`
_PAIR = re.compile(r"(?:^|,)\s*version\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|([^,]*))")
_ADDRESS = re.compile(r"\w+://[^\s\"'\[\],]+")
_KEYS = ("name", "channels", "dependencies", "prefix", "variables")
_BUILD = ("pip", "setuptools", "wheel")
_PYTHON = "python"


@dataclass(frozen=True)
class CondaEnv:
    """What a conda.yaml says."""

    file: str
    channels: tuple[str, ...]  # as written
    packages: tuple[Text, ...]  # python among them
    pip: tuple[Line, ...]
    variables: tuple[str, ...]  # NAME=VALUE, to set for the command
    warnings: tuple[str, ...]

    @property
    def python(self) -> str | None:
        """Return the version of Python asked for, where a package index would understand it as well."""
        version = next((_version(one.text) for one in self.packages if _name(one.text) == _PYTHON), None)
        return version if version and versions.problem(version) is None else None

    @property
    def build(self) -> tuple[Line, ...]:
        """Return pip, setuptools, wheel: what has the same name on a package index."""
        return tuple(_build(self.file, one) for one in self.packages if _name(one.text) in _BUILD)

    @property
    def other_channels(self) -> tuple[str, ...]:
        """Return the channels that only single packages name."""
        channels = (_SUBDIR.sub("", _channel(one)) for one in self.packages)
        return tuple(dict.fromkeys(channel for channel in channels if channel))

    @property
    def archives(self) -> tuple[str, ...]:
        """Return the addresses that packages name otherwise: of themselves, or of a channel in brackets."""
        texts = (one.text for one in self.packages if not _channel(one))
        return tuple(address for text in texts for address in _ADDRESS.findall(text))

    def specifications(self, address: Callable[[str], str]) -> tuple[str, ...]:
        """Return the packages as a solver reads them; ``address`` is what a channel's name stands for."""
        found = []
        for one in self.packages:
            channel = _SUBDIR.sub("", _channel(one))
            if channel:
                found.append(f"{address(channel)}{one.text[len(channel) :]}")
            else:
                found.append(_ADDRESS.sub(lambda match: address(match.group()), one.text))
        return tuple(found)

    def for_virtualenv(self) -> tuple[str | None, tuple[str, ...]]:
        """Return the Python that a virtual environment is to have, and what is not as it was written."""
        version, warnings = _python(self.file, self.packages)
        others = [one.text for one in self.packages if _name(one.text) not in (_PYTHON, *_BUILD)]
        if others:
            warnings.append(f"{self.file}: only conda has these, and they are left out: {', '.join(others)}")
        if self.variables:
            names = ", ".join(one.partition("=")[0] for one in self.variables)
            warnings.append(f"{self.file}: only conda sets these variables, and they are left out: {names}")
        return version, tuple(warnings)


def read_conda_env(path: Path, name: str) -> CondaEnv:
    """Return what a conda.yaml says; ProjectError names file, line and key."""
    document = read(path, name)
    packages, pip = _dependencies(document)
    return CondaEnv(
        file=name,
        channels=tuple(one.text for one in document.texts("channels")),
        packages=tuple(packages),
        pip=tuple(Line(one.text, f"{name}, line {one.line}") for one in pip),
        variables=tuple(_variables(document)),
        warnings=tuple(document.unknown(_KEYS)),
    )


def _dependencies(document: Document) -> tuple[list[Text], list[Text]]:
    packages: list[Text] = []
    pip: list[Text] = []
    for item in document.items("dependencies"):
        if isinstance(item, Text):
            _expect_no_digest(document, item)
            packages.append(item)
        elif list(item.nodes) == ["pip"]:
            pip += item.texts("pip")
        else:
            key = next(key for key in item.nodes if key != "pip")
            raise item.wrong(
                key, "a conda package, or a `pip:` list, is expected", hint="write `name=version`, without a colon"
            )
    return packages, pip


def _expect_no_digest(document: Document, item: Text) -> None:
    """Refuse an address with a digest: py-rattler passes over it, and any archive would do."""
    if not _channel(item) and re.match(r"\w+://\S*(#|\[)", item.text):
        key, what = "dependencies", "a digest behind the address of a package is not held to"
        hint = "remove it: the lock pins the archive by its sha256, and `mlrun lock` keeps that with the project"
        raise document.wrong(key, what, line=item.line, hint=hint)


def _variables(document: Document) -> Iterator[str]:
    """Yield the variables that conda would set: `variables:`, a mapping of names to texts."""
    for name, value in document.mapping("variables").items():
        yield f"{name}={value.text}"


def _python(file: str, packages: tuple[Text, ...]) -> tuple[str | None, list[str]]:
    found = next((one for one in packages if _name(one.text) == _PYTHON), None)
    if found is None:
        return None, [f"{file} names no python; mlrun's own version is used"]
    version = _version(found.text)
    if version is None:
        return None, [f"{file}, line {found.line}: python has no version; mlrun's own is used"]
    problem = versions.problem(version)
    if problem is not None:
        message = f"{file}, line {found.line}: {problem}"
        raise ProjectError(message, hint="write `python=3.11`")
    refuse_too_old(version, f"{file}, line {found.line}: python")
    return version, []


def _build(file: str, one: Text) -> Line:
    version = _version(one.text)
    if version is not None and version[0].isdigit():
        version = f"=={version}.*" if f"{version}.*" in one.text else f"=={version}"
    return Line(_name(one.text) + (version or ""), f"{file}, line {one.line}")


def _name(text: str) -> str:
    match = _PACKAGE.match(text)
    return match.group("name").lower() if match else text


def _channel(one: Text) -> str:
    match = _PACKAGE.match(one.text)
    return (match.group("channel") or "") if match else ""


def _version(text: str) -> str | None:
    """Return a conda pin in pip's words: "3.8.13" of `=3.8.13=h12debd9_0` and of `==3.8.13`, else the range."""
    match = _PACKAGE.match(text)
    version = (match.group("version") or "").strip() if match else ""
    brackets = _BRACKETS.match(version)
    if brackets:
        pair = _PAIR.search(brackets.group("pairs"))
        version = (next(filter(None, pair.groups()), "") if pair else brackets.group("version")).strip()
    if version.lstrip("= ").startswith("*"):
        return None
    exact = re.match(r"^(?:={1,2})?\s*(\d[\w.]*?)(?:\.\*)?(?:[=\s]\S+)?$", version)
    return exact.group(1) if exact else version or None
