"""The lock of an environment: pinned, the project's own, an earlier run's, or resolved by uv, in this order."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Callable, Optional

from runner.errors import EnvironmentBuildError, FormatError, IntegrityError, StoreError
from runner.worker.codec import decode, encode
from runner.worker.environment import pylock, versions
from runner.worker.environment.interpreters import describe
from runner.worker.environment.mutex import locked
from runner.worker.environment.site import Site
from runner.worker.environment.uv import redacted
from runner.worker.files import Json, canonical, read_json
from runner.worker.files import replace as rewrite
from runner.worker.hashing import sha256_of
from runner.worker.spec import EnvironmentSpec, Interpreter
from runner.worker.values import dataclass

PROJECT_LOCK = "pylock.mlrun.toml"
_HEADER = b"# mlrun-lock: "
_SECRET = ("_USERNAME", "_PASSWORD", "_TOKEN", "_LOGINS")
_SPOKEN = (  # options whose values may be kept, and told, once user and password are out of them
    *("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "MLRUN_NO_INDEX"),
    *("UV_INDEX_STRATEGY", "UV_EXCLUDE_NEWER", "UV_PRERELEASE", "UV_RESOLUTION", "UV_TORCH_BACKEND"),
)


@dataclass(frozen=True)
class Local:
    """A project of the user's own that is installed after the locked packages, from where it lies."""

    name: str
    directory: str  # relative to the project where inside
    editable: bool


@dataclass(frozen=True)
class Known:
    """CACHE/locks/<question>.json: a lock, and what decides the environment that it makes."""

    lock: str  # digest of the object
    artifacts: str  # digest of the archives an interpreter can take from it
    packages: int
    locals: tuple[Local, ...] = ()
    asked: Mapping[str, str] = field(default_factory=dict)  # what it was resolved for, part by part
    version: int = 1


@dataclass(frozen=True)
class Taken:
    """The lock of a run and where it is from: pinned, project, cache, resolved."""

    known: Known
    origin: str


@dataclass(frozen=True)
class Header:
    """The line in a project's lock that says what it was made for."""

    specification: str
    python: str
    platform: str
    version: int = 1


def take(site: Site, interpreter: Interpreter) -> Taken:
    """Return the lock of a run, resolved where none is known."""
    return known(site, interpreter) or _resolved(site, interpreter)


def known(site: Site, interpreter: Interpreter) -> Optional[Taken]:
    """Return the lock of a run, None where it has to be resolved."""
    wanted = site.wanted
    if wanted.lock is not None:
        return Taken(_known_of(site, wanted.lock, interpreter), "pinned")
    data, where = None if site.placement.upgrade else own_lock(site, interpreter), PROJECT_LOCK
    if wanted.source == "pylock.toml" and data is None:
        data, where = _read_project_file(site.project / "pylock.toml"), "pylock.toml"
    if data is not None:
        return Taken(_known_of(site, site.objects.add(data), interpreter, where), "project")
    return remembered(site, asked(site, interpreter))


def own_lock(site: Site, interpreter: Interpreter) -> Optional[bytes]:
    """Return the lock that `mlrun lock` left in the project, None where there is none for this host."""
    found = valid_header_of(site.project, site.wanted)
    if found is None:
        return None
    header, data = found
    series = versions.release_of(header.python)[:2]
    if series != versions.release_of(interpreter.version)[:2] or header.platform != interpreter.platform:
        site.say(f"{PROJECT_LOCK} is for Python {header.python} on {header.platform}, not for {describe(interpreter)}")
        return None
    return data


def valid_header_of(project: Path, wanted: EnvironmentSpec) -> Optional[tuple[Header, bytes]]:
    """As ``header_of``; EnvironmentBuildError where the environment files have changed since."""
    found = header_of(project)
    if found is not None and found[0].specification != specification(wanted):
        message = f"{PROJECT_LOCK} is stale: the environment files have changed since `mlrun lock` wrote it"
        raise EnvironmentBuildError(
            message, hint="`mlrun lock` brings it up to date; `--upgrade` runs without it, once"
        )
    return found


def header_of(project: Path) -> Optional[tuple[Header, bytes]]:
    """Return what a project's lock says it is for, and its bytes; None where the project has no lock."""
    path = project / PROJECT_LOCK
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise EnvironmentBuildError(message) from error
    line = next((line for line in data.splitlines()[:5] if line.startswith(_HEADER)), b"")
    try:
        return decode(Header, json.loads(line[len(_HEADER) :] or b"{}")), data
    except (ValueError, FormatError):
        message = (
            f"{PROJECT_LOCK} does not say what it is for: its `{_HEADER.decode().strip()}` line is gone or changed"
        )
        raise EnvironmentBuildError(message, hint="make it again: `mlrun lock`") from None


def with_header(data: bytes, wanted: EnvironmentSpec, interpreter: Interpreter) -> bytes:
    """Return a lock as `mlrun lock` writes it into a project."""
    header = Header(specification(wanted), interpreter.version, interpreter.platform)
    files = ", ".join(file.path for file in wanted.files) or "no environment file"
    return (
        f"# The lock of {files}, for Python {interpreter.version} on {interpreter.platform}, written by `mlrun lock`.\n"
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


def resolve(site: Site, interpreter: Interpreter, preferred: Optional[Path] = None) -> bytes:
    """Ask uv for a lock; ``preferred`` is an earlier one, whose versions are kept where they can be."""
    wanted = site.wanted
    site.say(f"resolving {wanted.source or 'the requirements'} with {site.uv.version} for Python {interpreter.version}")
    if wanted.source == "uv.lock":
        data = _exported(site, interpreter)
    elif wanted.requirements or wanted.build_requirements:
        data = _compiled(site, interpreter, preferred)
    else:
        return pylock.EMPTY
    return pylock.portable(data, site.project)


def _resolved(site: Site, interpreter: Interpreter) -> Taken:
    def solve() -> Known:
        data = resolve(site, interpreter)
        return _digested(site.objects.add(data), data, interpreter)

    return resolved(site, asked(site, interpreter), solve)


def remembered(site: Site, parts: "dict[str, str]") -> Optional[Taken]:
    """Return the lock that an earlier run resolved for a question, None where there is none, or a new one is wanted."""
    found = None if site.placement.upgrade else _recall(site, _place_of(site, parts))
    return None if found is None else Taken(found, "cache")


def resolved(site: Site, parts: "dict[str, str]", solve: Callable[[], Known]) -> Taken:
    """Resolve a lock, once however many ask at a time, and remember it."""
    path = _place_of(site, parts)
    with locked(path.with_suffix(".lock"), lambda: site.say("waiting for another run that resolves the same")):
        found = remembered(site, parts)
        if found is not None:
            return found
        known = replace(solve(), asked=parts)
        rewrite(path, canonical(encode(known)))
        return Taken(known, "resolved")


def asked(site: Site, interpreter: Interpreter) -> dict[str, str]:
    """Return the question that a lock answers, part by part; nothing in it can be a credential."""
    return {
        **common(site),
        "interpreter": sha256_of(canonical(encode(replace(interpreter, path="")))),
        "python": interpreter.version,
        "version asked for": site.wanted.python or "",
        "build_dependencies": "\n".join(site.wanted.build_requirements),
    }


def common(site: Site) -> dict[str, str]:
    """Return the parts of a question that every kind of environment has."""
    parts = {"source": site.wanted.source, "dependencies": "\n".join(site.wanted.requirements)}
    parts.update({f"file {file.path}": file.sha256 for file in site.wanted.files})
    parts.update({name: redacted(site.installer[name]) for name in _SPOKEN if name in site.installer})
    return parts


def _place_of(site: Site, parts: "dict[str, str]") -> Path:
    options = {
        name: redacted(value)
        for name, value in site.installer.items()
        if name.startswith(("UV_", "MLRUN_")) and not name.endswith(_SECRET)
    }
    question: Json = {"parts": dict(parts), "options": dict(options)}
    return site.cache / "locks" / f"{sha256_of(canonical(question))}.json"


def _recall(site: Site, path: Path) -> Optional[Known]:
    with contextlib.suppress(OSError, FormatError):
        found = decode(Known, read_json(path))
        return found if site.objects.has(found.lock) else None
    return None


def _known_of(site: Site, lock: str, interpreter: Interpreter, where: str = "the lock") -> Known:
    """Return what a given lock means for an interpreter; a long lock takes a while to read, so that is kept."""
    question: Json = {"lock": lock, "interpreter": encode(replace(interpreter, path=""))}
    return understood(site, question, lambda: _digested(lock, bytes_of(site, lock), interpreter, where))


def bytes_of(site: Site, lock: str) -> bytes:
    """Return a lock out of the store."""
    try:
        return site.objects.read(lock)
    except IntegrityError as error:
        raise EnvironmentBuildError(f"the pinned lock cannot be used: {error.message}", hint=error.hint) from error


def understood(site: Site, question: Json, read: Callable[[], Known]) -> Known:
    """Return what a given lock means, read once: it can be long."""
    path = site.cache / "locks" / f"{sha256_of(canonical(question))}.json"
    found = _recall(site, path)
    if found is None:
        found = read()
        with contextlib.suppress(OSError, StoreError):
            path.parent.mkdir(parents=True, exist_ok=True)
            rewrite(path, canonical(encode(found)))
    return found


def _digested(lock: str, data: bytes, interpreter: Interpreter, where: str = "the lock") -> Known:
    packages = pylock.read(data, where)
    artifacts: Json = [
        [one.name, one.version, one.commit, *sorted(artifact.sha256 for artifact in pylock.possible(one, interpreter))]
        for one in sorted(packages, key=lambda one: (one.name, one.version))
        if one.directory is None
    ]
    locals_ = tuple(Local(one.name, one.directory, one.editable) for one in packages if one.directory is not None)
    return Known(lock, sha256_of(canonical(artifacts)), len(packages), locals_)


def _compiled(site: Site, interpreter: Interpreter, preferred: Optional[Path]) -> bytes:
    wanted = site.wanted
    lines = [*wanted.build_requirements, *wanted.requirements]
    done, reason = _compile(site, interpreter, lines, preferred)
    if done is None and wanted.build_requirements and wanted.requirements:
        # They were installed one after the other: what came later replaced what was in its way, and the rest stayed.
        alone, _ = _compile(site, interpreter, wanted.requirements, preferred)
        if alone is not None:
            names = {one.name for one in pylock.read(pylock.portable(alone, site.project))}
            kept = [line for line in wanted.build_requirements if _name_of(line) not in names]
            done, reason = _compile(site, interpreter, [*kept, *wanted.requirements], preferred)
            site.say("build_dependencies and dependencies exclude each other: the dependencies win")
    if done is None:
        hint = _cure(reason, wanted)
        raise EnvironmentBuildError(f"the requirements cannot be resolved: {reason}", hint=hint)
    return done


def _compile(
    site: Site, interpreter: Interpreter, lines: "list[str] | tuple[str, ...]", preferred: Optional[Path]
) -> tuple[Optional[bytes], str]:
    words = ["pip", "compile", "-", "--format", "pylock.toml", "--generate-hashes", "--no-header", "--no-annotate"]
    kept = ["-o", str(preferred)] if preferred else []
    text = "".join(line + "\n" for line in lines)
    python = ["--python", interpreter.path]
    done = site.uv.ask(*words, "-q", *python, *site.uv.options, *kept, cwd=site.project, text=text)
    if done.code != 0:
        return None, site.uv.reason(done)
    return preferred.read_bytes() if preferred else done.stdout, ""


def _exported(site: Site, interpreter: Interpreter) -> bytes:
    words = ["export", "--format", "pylock.toml", "--locked", "--no-header", "--no-annotate", "-q"]
    done = site.uv.ask(*words, "--python", interpreter.path, *site.uv.options, cwd=site.project)
    if done.code != 0:
        message = f"uv.lock cannot be used: {site.uv.reason(done)}"
        raise EnvironmentBuildError(message, hint="`uv lock` brings it up to date")
    return done.stdout


def _read_project_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise EnvironmentBuildError(message) from error


def _name_of(line: str) -> str:
    word = line.split("#", maxsplit=1)[0].strip()
    for end, character in enumerate(word):
        if not (character.isalnum() or character in "-_."):
            word = word[:end]
            break
    return pylock.normalised(word)


def _cure(reason: str, wanted: EnvironmentSpec) -> str:
    text = reason.lower()
    if "offline" in text or "network" in text or "dns" in text or "connect" in text:
        return "resolving needs the network once; a later run uses the lock that it leaves"
    if "not found in the package registry" in text or "no versions of" in text:
        where = ", ".join(file.path for file in wanted.files) or "the requirements"
        return f"check the names and versions in {where}, and which indexes are configured for uv or pip"
    if "python" in text and "requires" in text:
        return "name a Python that all of them support (`python:` in python_env.yaml)"
    return "change the requirement lines that uv names"
