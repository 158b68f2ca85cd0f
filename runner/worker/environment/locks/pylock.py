"""A lock file (pylock.toml, PEP 751): what it names, with which hashes, and the form of it that is kept and used."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Callable, Optional
from urllib.parse import unquote, urlsplit

from runner.errors import EnvironmentBuildError, FormatError
from runner.worker.environment.locks.toml import loads
from runner.worker.spec import Interpreter
from runner.worker.values import dataclass

EMPTY = b'lock-version = "1.0"\ncreated-by = "mlrun"\npackages = []\n'

_AGAIN = "make it again: `mlrun lock --upgrade`, or `uv export`/`uv pip compile`"
_BLOCK = re.compile(rb"^\[\[packages\]\]", re.MULTILINE)
_TAIL = re.compile(rb"^\[\[?(?!\[?packages[.\]])", re.MULTILINE)
_ADDRESS = re.compile(rb'\burl[ \t]*=[ \t]*"(https?://[^"\\\n]*)"')
_PLACED = re.compile(rb"^(?:index|vcs|directory|archive)[ \t]*=|^\[packages\.(?:vcs|directory|archive)\]", re.MULTILINE)
_WHEEL_PARTS = 5  # name, version, python, abi, platform; a build number is a sixth
_USERINFO = re.compile(rb"(\bhttps?://)[^/\s@'\"]+@")
_PASSWORD = re.compile(rb"(\b[a-z][a-z0-9+.-]*://[^/\s@'\":]+):[^/\s@'\"]+@")
_PATCH = re.compile(rb'^(requires-python = ">=\d+\.\d+)\.\d+"', re.MULTILINE)
_TABLE = rb'\{[^{}]*\bhashes = \{[^{}]*\bsha256 = "(?P<sha256>[0-9a-f]{64})"[^{}]*\}[^{}]*\}'
_ALONE = re.compile(rb"^(?:sdist|archive) = " + _TABLE + rb"[ \t]*\n", re.MULTILINE)
_LISTED = re.compile(_TABLE + rb"[ \t]*,?[ \t]*")
_PATH = re.compile(rb"""(\bpath[ \t]*=[ \t]*)(?:"([^"\\\n]*)"|'([^'\n]*)')""")


@dataclass(frozen=True)
class Artifact:
    """An archive a lock names."""

    file: str  # name of the wheel or of the source archive
    url: Optional[str]
    sha256: str


@dataclass(frozen=True)
class Locked:
    """A distribution a lock names."""

    name: str  # normalised
    version: str
    artifacts: tuple[Artifact, ...] = ()
    commit: Optional[str] = None  # of a repository
    directory: Optional[str] = None  # a local project, relative to the one the lock is of
    editable: bool = False


def normalised(name: str) -> str:
    """Return a distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(data: bytes, where: str = "the lock") -> tuple[Locked, ...]:
    """Return what a lock names; EnvironmentBuildError where it is none, or names an archive without its hash."""
    try:
        table = loads(data, where)
    except FormatError as error:
        raise EnvironmentBuildError(error.message, hint=_AGAIN) from None
    if not str(table.get("lock-version")).startswith("1."):
        raise _unlike(where, f"its lock-version is {table.get('lock-version', 'missing')}")
    packages = table.get("packages", [])
    if not isinstance(packages, list):
        raise _unlike(where, "`packages` is no list")
    return tuple(_numbered(package, number, data, where) for number, package in enumerate(packages))


def _numbered(table: Any, number: int, data: bytes, where: str) -> Locked:
    """Return a package of a lock, by its number in it; EnvironmentBuildError names the line it begins on."""
    try:
        return _package(table)
    except FormatError as error:
        what = error.message
    except KeyError as error:
        what = f"a package without {error}"
    except (TypeError, AttributeError, ValueError, IndexError) as error:
        what = f"a package with a value of the wrong type ({error})"
    starts = [match.start() for match in _BLOCK.finditer(data)]
    line = f", line {data.count(10, 0, starts[number]) + 1}" if number < len(starts) else ""
    raise _unlike(f"{where}{line}", what)


def _unlike(place: str, what: str) -> EnvironmentBuildError:
    return EnvironmentBuildError(f"{place}: this is no pylock.toml (PEP 751): {what}", hint=_AGAIN)


def portable(data: bytes, project: Path) -> bytes:
    """Return a lock as it is kept: no credentials, and paths inside the project relative to it."""
    data = _PASSWORD.sub(rb"\1@", _USERINFO.sub(rb"\1", data))
    roots = {str(project), os.path.realpath(project)}
    for root in roots:
        uri = re.escape(Path(root).as_uri().encode())
        data = re.sub(rb'\burl = "' + uri + rb'/([^"]+)"', lambda m: b'path = "' + _unquoted(m.group(1)) + b'"', data)

    def relative(match: re.Match[bytes]) -> bytes:
        path = os.fsdecode(match.group(2) or match.group(3) or b"")
        if not os.path.isabs(path):
            return match.group()
        inside = [
            os.path.relpath(path, root)
            for root in roots
            if Path(path) == Path(root) or Path(root) in Path(path).parents
        ]
        return match.group(1) + b'"' + os.fsencode(inside[0] if inside else path) + b'"'

    return _PATH.sub(relative, data)


def moved(data: bytes, folder: Path, project: Path) -> bytes:
    """Return a lock that uv wrote into a folder, its paths relative to the project instead of that folder."""
    start, end = os.path.realpath(folder), os.path.realpath(project)

    def relative(match: re.Match[bytes]) -> bytes:
        path = os.fsdecode(match.group(2) or match.group(3) or b"")
        if os.path.isabs(path):
            return match.group()
        return match.group(1) + b'"' + os.fsencode(os.path.relpath(os.path.join(start, path), end)) + b'"'

    return _PATH.sub(relative, data)


def installable(data: bytes, project: Path) -> bytes:
    """Return a lock as uv installs it: without local projects, paths absolute. Nothing left: empty bytes.

    It serves a whole series of Python: 3.11.2 on another machine, where 3.11.7 has resolved it.
    """
    data = _PATCH.sub(rb'\1"', only(data, lambda one: one.directory is None))

    def absolute(match: re.Match[bytes]) -> bytes:
        path = os.fsdecode(match.group(2) or match.group(3) or b"")
        return match.group(1) + b'"' + os.fsencode(os.path.normpath(project / path)) + b'"'

    return _PATH.sub(absolute, data)


def attributed(data: bytes, index_of: Callable[[str], Optional[str]]) -> bytes:
    """Return a lock that says of each package which index it is from, where it says nothing (PEP 751 asks for it).

    ``index_of`` is given the address of one of its archives.
    """
    head, blocks, tail = _parts(data)
    for number, block in enumerate(blocks):
        address = None if _PLACED.search(block) else _ADDRESS.search(block)
        index = index_of(os.fsdecode(address[1])) if address else None
        if index is not None and '"' not in index:
            blocks[number] = block.replace(b"[[packages]]", b'[[packages]]\nindex = "' + os.fsencode(index) + b'"', 1)
    return head + b"".join(blocks) + tail


def only(data: bytes, wanted: Callable[[Locked], bool]) -> bytes:
    """Return a lock that names only what is wanted. Nothing left: empty bytes."""
    head, blocks, tail = _parts(data)
    if not blocks:
        return b"" if not read(data) else data
    kept = [block for block in blocks if wanted(read(b'lock-version = "1.0"\n' + block)[0])]
    return head + b"".join(kept) + tail if kept else b""


def _parts(data: bytes) -> "tuple[bytes, list[bytes], bytes]":
    """Return what stands before the packages of a lock, each of them, and what stands behind."""
    starts = [match.start() for match in _BLOCK.finditer(data)]
    if not starts:
        return data, [], b""
    tail = _TAIL.search(data, starts[-1] + len(b"[[packages]]"))
    ends = [*starts[1:], tail.start() if tail else len(data)]
    return data[: starts[0]], [data[start:end] for start, end in zip(starts, ends)], data[ends[-1] :]


def without(data: bytes, unwanted: Collection[str]) -> bytes:
    """Return a lock, as uv writes it, that does not name the archives of some digests."""

    def kept(match: re.Match[bytes]) -> bytes:
        return b"" if match.group("sha256").decode() in unwanted else match.group()

    shorter = _LISTED.sub(kept, _ALONE.sub(kept, data))
    left = {artifact.sha256 for one in read(shorter) for artifact in one.artifacts}
    if left != {artifact.sha256 for one in read(data) for artifact in one.artifacts}.difference(unwanted):
        message = "the lock is not written as uv writes it, and archives cannot be taken out of it"
        raise FormatError(message)
    return shorter


def possible(package: Locked, interpreter: Interpreter) -> tuple[Artifact, ...]:
    """Return the archives an interpreter can take: its wheels, else the source archives, else all."""
    wheels = [one for one in package.artifacts if one.file.endswith(".whl")]
    fitting = tuple(one for one in wheels if _fits(one.file, interpreter))
    return fitting or tuple(one for one in package.artifacts if one not in wheels) or package.artifacts


def built_from(package: Locked, tags: Iterable[str]) -> tuple[Artifact, ...]:
    """Return the archive an installed distribution came from, by the tags its WHEEL file names; else those possible."""
    wanted = set(tags)
    wheels = tuple(one for one in package.artifacts if one.file.endswith(".whl") and _tags(one.file) == wanted)
    return wheels or tuple(one for one in package.artifacts if not one.file.endswith(".whl")) or package.artifacts


def _package(table: dict[str, Any]) -> Locked:
    name, version = normalised(table["name"]), str(table.get("version", ""))
    directory = table.get("directory")
    if directory is not None:
        return Locked(name, version, directory=directory["path"], editable=bool(directory.get("editable")))
    if "vcs" in table:
        return Locked(name, version, commit=table["vcs"]["commit-id"])
    sources = [table[key] for key in ("archive", "sdist") if key in table]
    return Locked(name, version, tuple(_artifact(name, one) for one in (*table.get("wheels", ()), *sources)))


def _artifact(name: str, table: dict[str, Any]) -> Artifact:
    url, path = table.get("url"), table.get("path")
    file = table.get("name") or unquote(os.path.basename(urlsplit(url).path if url else str(path)))
    sha256 = table.get("hashes", {}).get("sha256")
    if not isinstance(sha256, str):
        message = f"{name} ({file}) has no sha256"
        raise FormatError(message)
    return Artifact(file, url, sha256)


def _fits(wheel: str, interpreter: Interpreter) -> bool:
    parts = wheel[:-4].split("-")
    if len(parts) < _WHEEL_PARTS or interpreter.implementation != "cpython":
        return True
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    major, minor = interpreter.version.split(".")[:2]
    system, _, machine = interpreter.platform.partition("-")
    machine = machine.rpartition("-")[2] if system == "macosx" else machine
    wanted = {"linux": ("linux", "manylinux", "musllinux")}.get(system, (system,))
    placed = [
        one for one in platforms if one == "any" or (one.startswith(wanted) and one.endswith((machine, "universal2")))
    ]
    here = {f"cp{major}{minor}", f"py{major}{minor}", f"py{major}"}
    stable = "abi3" in abis and any(re.match(rf"cp{major}\d+$", p) and int(p[3:]) <= int(minor) for p in pythons)
    older = "none" in abis and any(re.match(rf"(?:py|cp){major}\d+$", p) and int(p[3:]) <= int(minor) for p in pythons)
    return bool(placed) and (stable or older or bool(here.intersection(pythons)))


def _tags(wheel: str) -> set[str]:
    pythons, abis, platforms = (part.split(".") for part in wheel[:-4].split("-")[-3:])
    return {f"{python}-{abi}-{platform}" for python in pythons for abi in abis for platform in platforms}


def _unquoted(path: bytes) -> bytes:
    return os.fsencode(unquote(os.fsdecode(path)))
