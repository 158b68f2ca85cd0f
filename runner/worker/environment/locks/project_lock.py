"""The locks that `mlrun lock` leaves in a project: one for each environment it has, platform and Python."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Optional

from runner.errors import EnvironmentBuildError, FormatError
from runner.worker.codec import decode, encode
from runner.worker.environment.interpreters import versions
from runner.worker.environment.interpreters.discovery import fits
from runner.worker.environment.interpreters.identity import describe, spoken
from runner.worker.environment.interpreters.platforms import Target, same_platform
from runner.worker.environment.locks import belonging
from runner.worker.environment.site import Site
from runner.worker.files import canonical
from runner.worker.spec import EnvironmentSpec, Interpreter
from runner.worker.values import dataclass

PROJECT_LOCK = "pylock.mlrun.toml"
_HEADER = b"# mlrun-lock: "


@dataclass(frozen=True)
class Header:
    """The line in a project's lock that says what it was made for."""

    specification: str
    python: str
    platform: str
    source: str = ""  # the file that asks for the environment; "" where an older mlrun wrote it
    version: int = 1


@dataclass(frozen=True)
class ProjectLock:
    """A lock that lies in a project."""

    name: str
    header: Header
    data: bytes

    def serves(self, python: str, platform: str) -> bool:
        """Whether it was made for the series of a Python version ("3.11.7", "3.13.0t") and for a platform."""
        alike = versions.flavour(self.header.python) == versions.flavour(python)
        return alike and self.is_on(platform)

    def is_on(self, platform: str) -> bool:
        """Whether it was made for a platform."""
        return same_platform(self.header.platform, platform)

    def is_of(self, wanted: EnvironmentSpec) -> bool:
        """Whether it was made for an environment, stale or not: entry points may have environments of their own."""
        return belonging.is_of(self.header, wanted)

    def is_left_behind(self, project: Path) -> bool:
        """Whether the file that asked for its environment is gone."""
        return belonging.is_left_behind(self.header.source, project)


def all_of(project: Path, *, strict: bool = False) -> tuple[ProjectLock, ...]:
    """Return the locks of a project, the plain name first; EnvironmentBuildError where that one is damaged.

    A damaged one beside it is another platform's matter, and left out, unless ``strict``.
    """
    names = _names(project)
    return tuple(_read_those(project, names, names if strict else [PROJECT_LOCK]))


def sound(project: Path) -> tuple[ProjectLock, ...]:
    """Return the locks of a project that can be read."""
    return tuple(_read_those(project, _names(project), []))


def of(locks: Iterable[ProjectLock], wanted: EnvironmentSpec) -> tuple[ProjectLock, ...]:
    """Return those of a project's locks that are for an environment.

    EnvironmentBuildError where there are none among them: a run that the committed locks do not hold would drift.
    """
    found = tuple(locks)
    mine = tuple(one for one in found if one.is_of(wanted))
    if found and not mine:
        raise belonging.of_another(found[0].name, found[0].header.source, wanted)
    return mine


def _read_those(project: Path, names: "list[str]", expected: "list[str]") -> Iterator[ProjectLock]:
    for name in names:
        try:
            yield _read(project / name)
        except EnvironmentBuildError:
            if name in expected:
                raise


def own_lock(site: Site, interpreter: Interpreter) -> Optional[ProjectLock]:
    """Return the lock that `mlrun lock` left in the project for this host and Python, None where there is none.

    EnvironmentBuildError where the environment files have changed since.
    """
    found = of(all_of(site.project), site.wanted)
    for one in found:
        if one.serves(spoken(interpreter), interpreter.platform):
            belonging.expect_fresh(one.name, one.header, site.wanted)
            return one
    if found:
        others = _spoken(found)
        site.say(f"note: {others}, not for {describe(interpreter)} on {interpreter.platform}")
    return None


def bound(locks: Iterable[ProjectLock], wanted: EnvironmentSpec, own: Optional[Interpreter]) -> Optional[ProjectLock]:
    """Return the lock that an environment here will have, whatever Pythons are found; None where that hangs on them.

    ``own`` is mlrun's interpreter. EnvironmentBuildError where the environment files have changed since.
    """
    if own is None:
        return None
    mine = [one for one in of(locks, wanted) if one.is_on(own.platform)]
    if wanted.python is not None:
        exact, fitting = versions.is_exact(wanted.python), fits(wanted.python, own)
        version = wanted.python if exact else spoken(own) if fitting else ""
        mine = [one for one in mine if one.serves(version, own.platform)]
    found = next(iter(mine), None)
    if found is not None:
        belonging.expect_fresh(found.name, found.header, wanted)
    return found


def expect_fresh(project: Path, wanted: EnvironmentSpec) -> None:
    """Raise EnvironmentBuildError where a lock of the project is damaged, or older than the environment files."""
    for one in of(all_of(project, strict=True), wanted):
        belonging.expect_fresh(one.name, one.header, wanted)


def series_for(project: Path, wanted: EnvironmentSpec, platform: str) -> Optional[str]:
    """Return the Python that an environment's locks name for a platform, the first one's: "3.11"; None for none."""
    for one in all_of(project):
        if one.is_of(wanted) and one.is_on(platform):
            return versions.series_of(one.header.python)
    return None


def place_for(project: Path, wanted: EnvironmentSpec, target: Target, *, host: bool) -> Path:
    """Return where the lock of an environment for a target lies or belongs; no other one's is written over.

    The plain name is for the first environment that is locked, on this host; one whose file is gone makes room.
    """
    found = {one.name: one for one in sound(project) if one.is_of(wanted) or not one.is_left_behind(project)}
    mine = {name: one for name, one in found.items() if one.is_of(wanted)}
    for name, one in mine.items():
        if one.serves(target.python, target.platform):
            return project / name
    for name in _places(found, wanted, target, host=host):
        # this host's lock follows its Python
        if name not in found or (host and name in mine and mine[name].is_on(target.platform)):
            return project / name
    raise belonging.no_room(wanted, list(found))


def _places(found: Mapping[str, ProjectLock], wanted: EnvironmentSpec, target: Target, *, host: bool) -> Iterator[str]:
    """Yield the names that the lock of an environment may have, the best one first."""
    main = found.get(PROJECT_LOCK)
    named = belonging.words_of(wanted)
    for word in named if main is not None and not main.is_of(wanted) else ["", *named]:
        yield from (f"pylock.mlrun{word}{ending}.toml" for ending in ["", f"-{target.slug}"][not host :])


def _names(project: Path) -> list[str]:
    try:
        found = os.listdir(project)
    except OSError:
        return []
    beside = sorted(name for name in found if name.startswith("pylock.mlrun-") and name.endswith(".toml"))
    return [*(name for name in (PROJECT_LOCK,) if name in found), *beside]


def _read(path: Path) -> ProjectLock:
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise EnvironmentBuildError(message) from error
    line = next((line for line in data.splitlines()[:5] if line.startswith(_HEADER)), b"")
    try:
        return ProjectLock(path.name, decode(Header, json.loads(line[len(_HEADER) :] or b"{}")), data)
    except (ValueError, FormatError):
        message = f"{path.name} does not say what it is for: its `{_HEADER.decode().strip()}` line is gone or changed"
        which = "" if path.name == PROJECT_LOCK else " --platform NAME"
        raise EnvironmentBuildError(message, hint=f"make it again: `mlrun lock{which}`, or remove it") from None


def _spoken(found: Iterable[ProjectLock]) -> str:
    words = [f"{one.name} is for Python {one.header.python} on {one.header.platform}" for one in found]
    return ", ".join(words)


def with_header(data: bytes, wanted: EnvironmentSpec, target: Target) -> bytes:
    """Return a lock as `mlrun lock` writes it into a project."""
    header = Header(belonging.specification(wanted), target.python, target.platform, wanted.source)
    files = ", ".join(file.path for file in wanted.files) or "no environment file"
    return (
        f"# The lock of {files}, for Python {target.python} on {target.platform}, written by `mlrun lock`.\n"
        "# Commit it: runs install exactly this. After a change of the files: `mlrun lock`; for newer versions: "
        "`mlrun lock --upgrade`.\n"
    ).encode() + b"%s%s\n%s" % (_HEADER, canonical(encode(header)), data)
