"""Why an environment of the cache did not serve: what differs between what is wanted and what is nearest to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Optional

from runner.worker.environment.cache.slot import Marker, slots
from runner.worker.environment.interpreters.identity import spoken
from runner.worker.environment.locks.pylock import Locked, normalised, possible
from runner.worker.facts import InstalledEnvironment
from runner.worker.spec import Interpreter
from runner.worker.values import dataclass

_SPOKEN = 3  # differences that one line names
_SHORT = 12  # digits of a digest that are shown


@dataclass(frozen=True)
class Package:
    """A version of a distribution, and the archives it may be from."""

    version: str
    archives: frozenset[str]


@dataclass(frozen=True)
class Recipe:
    """What an environment is made of, in a form that can be compared."""

    interpreter: Optional[Interpreter]
    packages: Mapping[str, Package]
    made_of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Nearest:
    """The environment of the cache that has most in common with what is wanted, and what it has instead."""

    key: str
    differences: tuple[str, ...]


def of_lock(interpreter: Interpreter, locked: "tuple[Locked, ...]", made_of: Mapping[str, str]) -> Recipe:
    """Return what a lock makes with an interpreter."""
    packages = {
        one.name: Package(one.version, frozenset(each.sha256 for each in possible(one, interpreter)))
        for one in locked
        if one.directory is None
    }
    return Recipe(interpreter, packages, made_of)


def of_installed(environment: InstalledEnvironment, made_of: Mapping[str, str]) -> Recipe:
    """Return what an environment was made of; what seeds it is in no lock."""
    found = {normalised(one.name): Package(one.version, frozenset(one.sha256)) for one in environment.packages}
    interpreter = None if environment.kind == "conda" else environment.interpreter  # conda's is one of its packages
    return Recipe(interpreter, {name: one for name, one in found.items() if one.archives}, made_of)


def nearest(wanted: Recipe, cache: Path, key: str = "", kind: str = "virtualenv") -> Optional[Nearest]:
    """Return the nearest environment of a kind, ``key`` left out; None where the cache has none."""
    best: Optional[Nearest] = None
    for slot in slots(cache):
        marker = slot.read()
        if isinstance(marker, Marker) and slot.key != key and marker.environment.kind == kind:
            found = tuple(differences(wanted, of_installed(marker.environment, marker.made_of)))
            if best is None or len(found) < len(best.differences):
                best = Nearest(slot.key, found)
    return best


def in_a_line(found: Optional[Nearest]) -> str:
    """Return why an environment is built, as the record has it."""
    first = "first use of these packages with this interpreter"
    if found is None or not found.differences:
        return first
    more = len(found.differences) - _SPOKEN
    words = "; ".join(found.differences[:_SPOKEN]) + (f"; and {more} more" if more > 0 else "")
    return f"{first}; the nearest environment, {found.key[:8]}, has {words}"


def differences(wanted: Recipe, other: Recipe) -> Iterator[str]:
    """Yield what another environment has instead of what is wanted, each as a phrase."""
    yield from _of_interpreter(wanted.interpreter, other.interpreter)
    for name in sorted({*wanted.made_of, *other.made_of}):
        mine, theirs = wanted.made_of.get(name), other.made_of.get(name)
        if mine != theirs:
            yield f"{name} {theirs or 'none'} instead of {mine or 'none'}"
    for name in sorted({*wanted.packages, *other.packages}):
        phrase = _of_package(name, wanted.packages.get(name), other.packages.get(name))
        if phrase:
            yield phrase


def _of_package(name: str, mine: Optional[Package], theirs: Optional[Package]) -> str:
    if mine is None or theirs is None:
        return f"{name} {theirs.version} besides" if theirs else f"no {name}"
    if mine.version != theirs.version:
        return f"{name} {theirs.version} instead of {mine.version}"
    disjoint = mine.archives and theirs.archives and mine.archives.isdisjoint(theirs.archives)
    return f"{name} {mine.version} from another archive" if disjoint else ""


def _of_interpreter(mine: Optional[Interpreter], theirs: Optional[Interpreter]) -> Iterator[str]:
    if mine is None or theirs is None:
        if mine is not theirs:
            yield "a Python" if theirs else "no Python"
        return
    here, there = f"Python {spoken(mine)}", f"Python {spoken(theirs)}"
    if here != there:
        yield f"{there} instead of {here}"
    elif mine.build == theirs.build and mine.sha256 != theirs.sha256:
        yield f"another file of {here} ({theirs.sha256[:_SHORT]} instead of {mine.sha256[:_SHORT]})"
    elif mine.build != theirs.build:
        yield f"another build of {here} ({theirs.build} instead of {mine.build})"
    if mine.platform != theirs.platform:
        yield f"{theirs.platform} instead of {mine.platform}"
