"""Asks uv for the lock of requirements: for an interpreter of this host, or for another platform and Python."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from runner.errors import EnvironmentBuildError
from runner.worker.environment.interpreters.platforms import Target
from runner.worker.environment.locks import pylock
from runner.worker.environment.locks.pins import hold_to, pins_of
from runner.worker.environment.site import Site
from runner.worker.environment.uv import AS_OF, wants_login
from runner.worker.facts import Gap
from runner.worker.spec import EnvironmentSpec, Interpreter
from runner.worker.tools import Finished
from runner.worker.values import dataclass

_PLACE = re.compile(r": -:([0-9]+):[0-9]+$")  # uv's name for a line of its standard input
_FILTERED = "filtered by `exclude-newer`"
_CURES = (  # words of uv's, and what to do; the first that fit
    (
        r"not found in the cache|network was disabled|client error \(connect\)|dns error|error sending request",
        "resolving needs the network once; a later run uses the lock that it leaves",
    ),
    (
        r"failed to build|build backend",
        "see what its build says, and what it needs; a Python that it has a wheel for needs no build",
    ),
    (
        r"does not satisfy Python|matching Python (?:ABI|version|implementation)",
        "name a Python that all of them support ({python})",
    ),
    (
        r"not found in the (?:package registry|provided package locations)|there (?:is|are) no versions? of",
        "check the names and versions in {files}, and which indexes are configured for uv or pip",
    ),
    (r"git sources cannot be editable", "leave out the `-e` of that line: what the commit holds is installed"),
    (
        r"failed to fetch|unexpected JSON|missing `content-type`|invalid package format",
        "see whether the index, or what stands before it, is in order, and its address right (uv's, pip's)",
    ),
)
_CURE = "change the requirement lines that uv names"


@dataclass(frozen=True)
class Wish:
    """How requirements are to be resolved."""

    preferred: Optional[Path] = None  # an earlier lock, whose versions are kept where they fit; it is rewritten
    upgrade: tuple[str, ...] = ()  # distributions whose newest version is taken all the same
    target: Optional[Target] = None  # another platform or Python than the interpreter's


@dataclass(frozen=True)
class Resolved:
    """A lock, and what is not as it was asked for."""

    data: bytes
    gaps: tuple[Gap, ...] = ()


def resolve(site: Site, interpreter: Interpreter, wish: Optional[Wish] = None) -> Resolved:
    """Ask uv for a lock; EnvironmentBuildError quotes why there is none."""
    wanted, wish = site.wanted, wish or Wish()
    where = f" {wish.target}" if wish.target else f" Python {interpreter.version}"
    site.say(f"resolving {wanted.source or 'the requirements'} with {site.uv.version} for{where}")
    if wanted.source == "uv.lock":
        _refuse_upgrade(wish)
        return Resolved(pylock.portable(_exported(site, interpreter), site.project))
    if not (wanted.requirements or wanted.build_requirements):
        return Resolved(pylock.EMPTY)
    data, gaps = _compiled_as_of(site, interpreter, wish)
    data = hold_to(pylock.portable(data, site.project), pins_of(wanted, site.project))
    _expect_among(wish.upgrade, data)
    return Resolved(data, gaps)


def _compiled_as_of(site: Site, interpreter: Interpreter, wish: Wish) -> tuple[bytes, tuple[Gap, ...]]:
    """Resolve as of the day a run was made on, where that is asked for; as of today where the index knows no days."""
    moment = site.installer.get(AS_OF)
    if moment is None:
        return _compiled(site, interpreter, wish), ()
    try:
        data = _compiled(site, interpreter, wish)
        reason = f"the run that is repeated had none; resolved as of {moment}"
    except EnvironmentBuildError as error:
        if not isinstance(error, _FilteredError):
            raise
        site.say(f"note: nothing fits as of {moment} (an index may tell no upload times): resolved as of today")
        data = _compiled(site.today(), interpreter, wish)
        reason = f"the run that is repeated had none; resolved as of today, because nothing fits as of {moment}"
    return data, (Gap("environment.lock", reason),)


class _FilteredError(EnvironmentBuildError):
    """Nothing fits as of a date: all was uploaded later, or the index does not say when."""


def _compiled(site: Site, interpreter: Interpreter, wish: Wish) -> bytes:
    wanted = site.wanted
    lines = [*wanted.build_requirements, *wanted.requirements]
    data, done = _compile(site, interpreter, lines, wish)
    if data is None and wanted.build_requirements and wanted.requirements:
        # They were installed one after the other: what came later replaced what was in its way, and the rest stayed.
        alone, _ = _compile(site, interpreter, wanted.requirements, wish)
        if alone is not None:
            names = {one.name for one in pylock.read(pylock.portable(alone, site.project))}
            lines = [line for line in wanted.build_requirements if _name_of(line) not in names]
            lines += wanted.requirements
            data, done = _compile(site, interpreter, lines, wish)
            site.say("note: build_dependencies and dependencies exclude each other: the dependencies win")
    if data is None:
        raise refusal(
            site, done, lines, f"the requirements cannot be resolved{f' for {wish.target}' if wish.target else ''}"
        )
    return data


def _compile(
    site: Site, interpreter: Interpreter, lines: "list[str] | tuple[str, ...]", wish: Wish
) -> tuple[Optional[bytes], Finished]:
    words = ["pip", "compile", "-", "--format", "pylock.toml", "--generate-hashes", "--no-header", "--no-annotate"]
    words += ["-q", "--python", interpreter.path, *site.uv.options, *(wish.target.options if wish.target else ())]
    words += ["-o", str(wish.preferred)] if wish.preferred else []
    words += [word for name in wish.upgrade for word in ("--upgrade-package", name)]
    done = site.uv.ask(*words, cwd=site.project, text="".join(line + "\n" for line in lines))
    if done.code != 0:
        return None, done
    if wish.preferred is None:
        return done.stdout, done
    return pylock.moved(wish.preferred.read_bytes(), wish.preferred.parent, site.project), done


def refusal(site: Site, done: Finished, lines: "Sequence[str]", message: str) -> EnvironmentBuildError:
    """Return why uv resolved no lock for requirement lines, and what to do about it."""
    reason = _PLACE.sub(lambda match: f": {lines[int(match[1]) - 1]}", site.uv.reason(done))
    if _FILTERED in done.complaint:
        moment = site.installer.get("UV_EXCLUDE_NEWER") or site.installer.get(AS_OF)
        hint = "take a later --exclude-newer, or none: an index that tells no upload times shows nothing as of a date"
        return _FilteredError(f"{message} as of {moment}: {reason}", hint=hint)
    message = f"{message}: {reason}"
    denied = wants_login(done.complaint)  # uv says it in a hint of its own, and elsewhere that nothing was found
    if denied:
        return EnvironmentBuildError(f"{message} (the index refused the login)", hint=denied)
    return EnvironmentBuildError(message, hint=_cure(reason, site.wanted))


def _refuse_upgrade(wish: Wish) -> None:
    if wish.upgrade:
        message = f"--upgrade {wish.upgrade[0]}: the project's uv.lock is its lock, and is used as it is"
        raise EnvironmentBuildError(message, hint=f"`uv lock --upgrade-package {wish.upgrade[0]}` renews it")


def _expect_among(names: "tuple[str, ...]", data: bytes) -> None:
    known = {one.name for one in pylock.read(data)} if names else set()
    missing = [name for name in names if pylock.normalised(name) not in known]
    if missing:
        message = f"--upgrade {missing[0]}: no such package is among the {len(known)} of this environment"
        raise EnvironmentBuildError(message, hint="`mlrun show --json` lists them; `--upgrade` alone renews them all")


def _exported(site: Site, interpreter: Interpreter) -> bytes:
    words = ["export", "--format", "pylock.toml", "--locked", "--no-header", "--no-annotate", "-q"]
    done = site.uv.ask(*words, "--python", interpreter.path, *site.uv.options, cwd=site.project)
    if done.code != 0:
        message = f"uv.lock cannot be used: {site.uv.reason(done)}"
        raise EnvironmentBuildError(message, hint="`uv lock` brings it up to date")
    return done.stdout


def _name_of(line: str) -> str:
    word = line.split("#", maxsplit=1)[0].strip()
    for end, character in enumerate(word):
        if not (character.isalnum() or character in "-_."):
            word = word[:end]
            break
    return pylock.normalised(word)


def _cure(reason: str, wanted: EnvironmentSpec) -> str:
    found = next((cure for words, cure in _CURES if re.search(words, reason, re.IGNORECASE)), _CURE)
    python = f"`python=` in {wanted.source}" if wanted.kind == "conda" else "`python:` in python_env.yaml"
    return found.format(files=", ".join(file.path for file in wanted.files) or "the requirements", python=python)
