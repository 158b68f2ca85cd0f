"""The locks that `mlrun lock` leaves in a project: one for this host, others beside it for other platforms."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from runner.errors import EnvironmentBuildError, FormatError
from runner.worker.codec import decode, encode
from runner.worker.environment.interpreters import versions
from runner.worker.environment.interpreters.discovery import fits
from runner.worker.environment.interpreters.identity import describe, spoken
from runner.worker.environment.interpreters.platforms import Target, same_platform
from runner.worker.environment.site import Site
from runner.worker.files import Json, canonical
from runner.worker.hashing import sha256_of
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
        return alike and same_platform(self.header.platform, platform)


def all_of(project: Path, *, strict: bool = False) -> tuple[ProjectLock, ...]:
    """Return the locks of a project, this host's name first; EnvironmentBuildError where that one is damaged.

    A damaged one beside it is another platform's matter, and left out, unless ``strict``.
    """
    return tuple(one for one in (_read_if(project / name, strict) for name in _names(project)) if one is not None)


def _read_if(path: Path, strict: bool) -> Optional[ProjectLock]:
    try:
        return _read(path)
    except EnvironmentBuildError:
        if strict or path.name == PROJECT_LOCK:
            raise
        return None


def own_lock(site: Site, interpreter: Interpreter) -> Optional[ProjectLock]:
    """Return the lock that `mlrun lock` left in the project for this host and Python, None where there is none.

    EnvironmentBuildError where the environment files have changed since.
    """
    found = all_of(site.project)
    for one in found:
        if one.serves(spoken(interpreter), interpreter.platform):
            _expect_fresh(one, site.wanted)
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
    mine = [one for one in locks if same_platform(one.header.platform, own.platform)]
    if wanted.python is not None:
        exact, fitting = versions.is_exact(wanted.python), fits(wanted.python, own)
        version = wanted.python if exact else spoken(own) if fitting else ""
        mine = [one for one in mine if one.serves(version, own.platform)]
    found = next(iter(mine), None)
    if found is not None:
        _expect_fresh(found, wanted)
    return found


def expect_fresh(project: Path, wanted: EnvironmentSpec) -> None:
    """Raise EnvironmentBuildError where a lock of the project is damaged, or older than the environment files."""
    for one in all_of(project, strict=True):
        _expect_fresh(one, wanted)


def series_for(project: Path, platform: str) -> Optional[str]:
    """Return the Python that the locks of a project name for a platform, the first one's: "3.11"; None for none."""
    for one in all_of(project):
        if same_platform(one.header.platform, platform):
            return versions.series_of(one.header.python)
    return None


def place_for(project: Path, target: Target, *, host: bool) -> Path:
    """Return where the lock of a target lies or belongs; this host's has the plain name unless that is another's."""
    found = all_of(project)
    for one in found:
        if one.serves(target.python, target.platform):
            return project / one.name
    main = next((one for one in found if one.name == PROJECT_LOCK), None)
    if host and (main is None or same_platform(main.header.platform, target.platform)):
        return project / PROJECT_LOCK
    return project / f"pylock.mlrun-{target.slug}.toml"


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


def _expect_fresh(one: ProjectLock, wanted: EnvironmentSpec) -> None:
    if one.header.specification == specification(wanted):
        return
    if one.header.source not in ("", wanted.source):  # entry points may have environments of their own
        message = f"{one.name} is for the environment of {one.header.source}, and this one is of {wanted.source}"
        hint = "`mlrun lock` makes it for this one (`-e NAME`: an entry point's); `--upgrade` runs without it, once"
    else:
        message = f"{one.name} is stale: the environment files have changed since `mlrun lock` wrote it"
        hint = "`mlrun lock` brings it up to date; `--upgrade` runs without it, once"
    raise EnvironmentBuildError(message, hint=hint)


def _spoken(found: Iterable[ProjectLock]) -> str:
    words = [f"{one.name} is for Python {one.header.python} on {one.header.platform}" for one in found]
    return ", ".join(words)


def with_header(data: bytes, wanted: EnvironmentSpec, target: Target) -> bytes:
    """Return a lock as `mlrun lock` writes it into a project."""
    header = Header(specification(wanted), target.python, target.platform, wanted.source)
    files = ", ".join(file.path for file in wanted.files) or "no environment file"
    return (
        f"# The lock of {files}, for Python {target.python} on {target.platform}, written by `mlrun lock`.\n"
        "# Commit it: runs install exactly this. After a change of the files: `mlrun lock`; for newer versions: "
        "`mlrun lock --upgrade`.\n"
    ).encode() + b"%s%s\n%s" % (_HEADER, canonical(encode(header)), data)


def specification(wanted: EnvironmentSpec) -> str:
    """Return the digest of what a lock answers to, on whatever host."""
    deciding: Json = {
        "files": {file.path: file.sha256 for file in wanted.files},
        "python": wanted.python,
        "requirements": list(wanted.requirements),
        "build": list(wanted.build_requirements),
    }
    return sha256_of(canonical(deciding))
