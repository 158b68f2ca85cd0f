"""The lock of an environment: pinned, the project's own, an earlier run's, or resolved by uv, in this order."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Callable, Optional

from runner.errors import EnvironmentBuildError, FormatError, IntegrityError, StoreError
from runner.worker.codec import decode, encode
from runner.worker.environment.interpreters.platforms import neutral
from runner.worker.environment.locks import pylock, sent
from runner.worker.environment.locks.pins import pins_of
from runner.worker.environment.locks.project_lock import own_lock
from runner.worker.environment.locks.resolving import Wish, resolve
from runner.worker.environment.logins import redacted
from runner.worker.environment.mutex import locked
from runner.worker.environment.site import Site
from runner.worker.facts import Gap
from runner.worker.files import Json, canonical, read_json
from runner.worker.files import replace as rewrite
from runner.worker.hashing import sha256_of
from runner.worker.libc import libc
from runner.worker.spec import EnvironmentSpec, Interpreter
from runner.worker.values import dataclass

_SECRET = ("_USERNAME", "_PASSWORD", "_TOKEN", "_LOGINS")
_SPOKEN = (  # options whose values may be kept, and told, once user and password are out of them
    *("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "MLRUN_NO_INDEX"),
    *("UV_INDEX_STRATEGY", "UV_EXCLUDE_NEWER", "UV_PRERELEASE", "UV_RESOLUTION", "UV_TORCH_BACKEND"),
)


_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")  # as uv and pip know them
_SHORT = 32  # digits of a digest that tells one text from another; a whole one would name an object to keep


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
    gaps: tuple[Gap, ...] = ()


def take(site: Site, interpreter: Interpreter, before_resolving: Callable[[], None]) -> Taken:
    """Return the lock of a run, resolved where none is known, which takes a while."""
    found = known(site, interpreter)
    if found is None:
        before_resolving()
        found = _resolved(site, interpreter)
    return found


def known(site: Site, interpreter: Interpreter) -> Optional[Taken]:
    """Return the lock of a run, None where it has to be resolved."""
    if site.wanted.lock is not None and not is_foreign(site, interpreter, libc()):
        return Taken(_known_of(site, site.wanted.lock, interpreter), "pinned")
    return None if site.placement.upgrade_packages else _standing(site, interpreter)


def is_foreign(site: Site, interpreter: Interpreter, c_library: str) -> bool:
    """Whether the lock is pinned for another platform, which a re-run on another machine comes to: it is of no use."""
    pinned, lock = site.wanted.interpreter, site.wanted.lock
    if pinned is None or lock is None:
        return False
    if neutral(pinned.platform) != neutral(interpreter.platform):
        site.say(f"the recorded lock is for {pinned.platform}: another one is made for {interpreter.platform}")
        return True
    strangers = sent.strangers(bytes_of(site, lock), c_library) if site.placement.lenient else ()
    if strangers:
        site.say(f"the recorded lock has no {strangers[0]} for {c_library or 'musl'}: another one is made")
    return bool(strangers)


def _standing(site: Site, interpreter: Interpreter) -> Optional[Taken]:
    """Return the lock that the project or an earlier run has left."""
    own = None if site.placement.upgrade else own_lock(site, interpreter)
    data, where = (own.data, own.name) if own is not None else (None, "")
    if site.wanted.source == "pylock.toml" and data is None:
        data, where = _read_project_file(site.project / "pylock.toml"), "pylock.toml"
    if data is not None:
        return Taken(_known_of(site, site.objects.add(data), interpreter, where), "project")
    return remembered(site, asked(site, interpreter))


def _resolved(site: Site, interpreter: Interpreter) -> Taken:
    sent_here = _sent(site, interpreter)
    if sent_here is not None:
        return sent_here
    gaps: list[Gap] = []

    def solve() -> Known:
        done = resolve(site, interpreter, _wish(site, interpreter))
        gaps.extend(done.gaps)
        return _digested(site.objects.add(done.data), done.data, interpreter)

    taken = resolved(site, asked(site, interpreter), solve)
    sent.note(site, common(site), sent.slug(interpreter, libc()), taken.known.lock)
    return replace(taken, gaps=tuple(gaps))


def _sent(site: Site, interpreter: Interpreter) -> Optional[Taken]:
    """Return the lock that came with the run from another machine, if it is for such an interpreter."""
    lock = site.placement.locks.get(sent.slug(interpreter, libc()))
    if lock is None or site.placement.upgrade or site.placement.upgrade_packages or not site.objects.has(lock):
        return None
    strangers = sent.strangers(bytes_of(site, lock), libc())
    if strangers:
        site.say(f"the lock that came with the run has no {strangers[0]} for {libc() or 'musl'}: another one is made")
        return None
    site.say("the lock of the machine that sent the run is used")
    return resolved(site, asked(site, interpreter), lambda: _known_of(site, lock, interpreter))


def _wish(site: Site, interpreter: Interpreter) -> Wish:
    """Keep what stands, but for the packages that are to be upgraded."""
    names = site.placement.upgrade_packages
    standing = _standing(site, interpreter) if names else None
    if standing is None:
        return Wish(upgrade=names)
    if site.wanted.source == "pylock.toml":
        message = f"--upgrade {names[0]}: the project's pylock.toml is its lock, and is used as it is"
        raise EnvironmentBuildError(message, hint="`uv pip compile` makes it anew")
    preferred = site.scratch / "pylock.preferred.toml"
    preferred.parent.mkdir(parents=True, exist_ok=True)
    preferred.write_bytes(site.objects.read(standing.known.lock))
    return Wish(preferred, names)


def remembered(site: Site, parts: "dict[str, str]") -> Optional[Taken]:
    """Return the lock that an earlier run resolved for a question, None where there is none, or a new one is wanted."""
    found = None if site.placement.upgrade else _recall(site, _place_of(site, parts))
    return None if found is None else Taken(found, "cache")


def resolved(site: Site, parts: "dict[str, str]", solve: Callable[[], Known]) -> Taken:
    """Resolve a lock, once however many ask at a time, and remember it."""
    path = _place_of(site, parts)
    with locked(path.with_suffix(".lock"), lambda: site.say("waiting for another run that resolves the same")):
        found = None if site.placement.upgrade_packages else remembered(site, parts)
        if found is not None:
            return found
        known = replace(solve(), asked=parts)
        rewrite(path, canonical(encode(known)))
        return Taken(known, "resolved")


def asked(site: Site, interpreter: Interpreter) -> dict[str, str]:
    """Return the question that a lock answers, part by part; nothing in it can be a credential."""
    return {
        **common(site),
        "interpreter": sha256_of(canonical(encode(replace(interpreter, path=""))))[:_SHORT],
        "python": interpreter.version,
        "version asked for": site.wanted.python or "",
        "build_dependencies": "\n".join(site.wanted.build_requirements),
    }


def common(site: Site) -> dict[str, str]:
    """Return the parts of a question that every kind of environment has."""
    parts = {"source": site.wanted.source, "dependencies": "\n".join(site.wanted.requirements)}
    parts.update({f"file {file.path}": file.sha256[:_SHORT] for file in site.wanted.files})
    pins = pins_of(site.wanted, site.project)
    pinned = sorted(f"{name} {each}" for name, hashes in pins.admitted.items() for each in hashes)
    pinned += ["--require-hashes"] * pins.strict
    if pinned:
        parts["hashes"] = sha256_of("\n".join(pinned).encode())[:_SHORT]
    parts.update({name: redacted(site.installer[name]) for name in _SPOKEN if name in site.installer})
    parts.update({f"variable {name}": _trace_of(name) for name in _variables(site.wanted)})
    return parts


def _variables(wanted: EnvironmentSpec) -> "set[str]":
    """Return the variables that uv puts into requirement lines, but for logins, by which no other archive is meant."""
    lines = (*wanted.build_requirements, *wanted.requirements)
    return {name for line in lines for name in _VARIABLE.findall(redacted(line))}


def _trace_of(name: str) -> str:
    """Return what tells one value of a variable from another, and is not the value: that may be a secret."""
    value = os.environ.get(name)
    return "unset" if value is None else sha256_of(os.fsencode(value))[:_SHORT]


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


def _read_project_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise EnvironmentBuildError(message) from error


__all__ = ["Known", "Local", "Taken", "asked", "bytes_of", "common", "known"]
__all__ += ["remembered", "resolved", "take", "understood"]
