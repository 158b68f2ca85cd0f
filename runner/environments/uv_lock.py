"""uv.lock: that it is one, and whether the pyproject.toml beside it asks for what it was not made for.

Only what is certain is told: names, versions and ranges that differ. uv, which knows all, has the last word in the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.errors import EnvironmentBuildError, FormatError
from runner.worker.environment.locks.pylock import normalised
from runner.worker.environment.locks.toml import Table, loads

NAME = "uv.lock"
_HINT = "`uv lock` makes it anew"
_HERE = ("virtual", "editable", "directory")  # how the project itself is locked

Asked = dict[str, Any]  # normalised name -> SpecifierSet; None where a name is there twice, or as no range


def expect_usable(data: bytes, pyproject: bytes) -> None:
    """Raise EnvironmentBuildError where bytes are no lock, or one that uv will find to be out of date."""
    lock = _read(data)
    reason = _staleness(lock, loads(pyproject, "pyproject.toml"))
    if reason:
        message = f"{NAME} is stale: {reason}"
        raise EnvironmentBuildError(message, hint="`uv lock` brings it up to date")


def _read(data: bytes) -> Table:
    try:
        table = loads(data, NAME)
    except FormatError as error:
        raise EnvironmentBuildError(error.message, hint=_HINT) from None
    problem = _problem(table)
    if problem:
        raise EnvironmentBuildError(f"{NAME}: this is no lock of uv: {problem}", hint=_HINT)
    return table


def _problem(table: Table) -> str:
    packages = table.get("package", [])
    if not isinstance(table.get("version"), int):
        return "its `version` is no number"
    if not isinstance(packages, list):
        return "`package` is no list"
    nameless = [number for number, one in enumerate(packages, 1) if not isinstance(one, dict) or "name" not in one]
    return f"`package` number {nameless[0]} has no name" if nameless else ""


def _staleness(lock: Table, pyproject: Table) -> str:
    """Return in what a lock does not fit a pyproject.toml for certain, "" where nothing shows."""
    about = pyproject.get("project")
    own = next((one for one in lock.get("package", []) if _is_here(one.get("source"))), None)
    if not isinstance(about, dict) or own is None:
        return ""
    if isinstance(about.get("name"), str) and normalised(about["name"]) != normalised(str(own["name"])):
        return f"it is of {own['name']}, and the project is {about['name']}"
    version, locked = about.get("version"), own.get("version")
    if isinstance(version, str) and isinstance(locked, str) and _version(version) != _version(locked):
        return f"it is of {own['name']} {locked}, and pyproject.toml says {version}"
    metadata = own.get("metadata", {})
    return next(_differences(pyproject, about, metadata if isinstance(metadata, dict) else {}), "")


def _differences(pyproject: Table, about: Table, metadata: Table) -> Iterator[str]:
    dynamic = about.get("dynamic", [])
    if not {"dependencies", "optional-dependencies"} & set(dynamic if isinstance(dynamic, list) else ()):
        lists = {**_texts({"": about.get("dependencies")}), **_texts(about.get("optional-dependencies"))}
        wanted = [line for lines in lists.values() for line in lines]
        yield from _unlike(wanted, metadata.get("requires-dist", []), "")
    tools = pyproject.get("tool")
    own = tools.get("uv") if isinstance(tools, dict) else None
    known = metadata.get("requires-dev", {})
    for name, lines in _texts(pyproject.get("dependency-groups")).items():
        group = normalised(name)
        has_more = group == "dev" and isinstance(own, dict) and "dev-dependencies" in own  # an older name of that group
        if all(isinstance(line, str) for line in lines) and isinstance(known, dict) and not has_more:
            yield from _unlike(lines, known.get(group, []), f" in the group {group}")


def _unlike(lines: list[Any], tables: list[Any], where: str) -> Iterator[str]:
    """Yield in what requirement lines differ from those of a lock."""
    try:
        wanted, known = _asked(lines), _locked(tables)
    except (ValueError, KeyError, TypeError, AttributeError):  # what cannot be read is left to uv
        return
    for name in sorted({*wanted, *known}):
        if name not in known:
            yield f"pyproject.toml asks for {name}{where}, and the lock does not know of it"
        elif name not in wanted:
            yield f"it was made for {name}{where}, which pyproject.toml no longer asks for"
        elif None not in (wanted[name], known[name]) and wanted[name] != known[name]:
            yield f"pyproject.toml asks for {name}{wanted[name]}{where}, and it was made for {name}{known[name]}"


def _asked(lines: list[str]) -> Asked:
    from packaging.requirements import Requirement

    found: Asked = {}
    for one in map(Requirement, lines):
        name = normalised(one.name)
        found[name] = None if one.url or name in found else one.specifier
    return found


def _locked(tables: list[Mapping[str, Any]]) -> Asked:
    from packaging.specifiers import SpecifierSet

    found: Asked = {}
    for one in tables:
        name, plain = normalised(one["name"]), not {*one} - {"name", "specifier", "marker", "extras", "index"}
        found[name] = SpecifierSet(one.get("specifier", "")) if plain and name not in found else None
    return found


def _texts(table: object) -> dict[str, list[Any]]:
    found = table if isinstance(table, dict) else {}
    return {name: lines for name, lines in found.items() if isinstance(lines, list)}


def _version(text: str) -> object:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text)
    except InvalidVersion:
        return text


def _is_here(source: object) -> bool:
    return isinstance(source, dict) and any(source.get(key) == "." for key in _HERE)
