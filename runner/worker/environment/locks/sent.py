"""Locks that serve other machines: which lock answers a question for a platform and Python series, here and there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from runner.errors import StoreError
from runner.worker.environment.interpreters import versions
from runner.worker.environment.locks.pylock import read
from runner.worker.environment.site import Site
from runner.worker.files import Json, canonical, read_json
from runner.worker.files import replace as rewrite
from runner.worker.hashing import sha256_of
from runner.worker.spec import Interpreter

_MANYLINUX = re.compile(r"manylinux(?:_2_(\d+)|(\d+))_")
_OLD = {"1": 5, "2010": 12, "2014": 17}  # the glibc 2 that the names without its number mean


def slug(interpreter: Interpreter, libc: str) -> str:
    """Return what a lock of wheels is good for: "3.11 linux-x86_64", with musl "3.11 linux-x86_64 musl"."""
    series = ".".join(map(str, versions.release_of(interpreter.version)[:2]))
    musl = " musl" if interpreter.platform.startswith("linux") and not libc else ""
    return f"{series} {interpreter.platform}{musl}"


def strangers(lock: bytes, libc: str) -> tuple[str, ...]:
    """Return the packages of a lock that have wheels, and none for a C library: "glibc 2.36", "" for musl."""
    wheels = ((one.name, [each.file for each in one.artifacts if each.file.endswith(".whl")]) for one in read(lock))
    return tuple(name for name, files in wheels if files and not any(_suits(file, libc) for file in files))


def _suits(wheel: str, libc: str) -> bool:
    newest = int(libc.rpartition(".")[2]) if libc else None
    for tag in wheel[: -len(".whl")].rpartition("-")[2].split("."):
        known = _MANYLINUX.match(tag)
        if known is None:
            suits = not tag.startswith("musllinux") or newest is None
        else:
            suits = newest is not None and int(known[1] or _OLD[known[2]]) <= newest
        if suits:
            return True
    return False


def note(site: Site, parts: Mapping[str, str], good_for: str, lock: str) -> None:
    """Keep which lock was resolved for a question; a cache that cannot be written is left as it is."""
    path = _place(site, parts)
    found: Json = {**_noted(path), good_for: lock}
    with contextlib.suppress(OSError, StoreError):
        path.parent.mkdir(parents=True, exist_ok=True)
        rewrite(path, canonical(found))


def known(site: Site, parts: Mapping[str, str]) -> dict[str, str]:
    """Return the locks of a question, by what they are good for; those whose bytes are here."""
    return {name: lock for name, lock in _noted(_place(site, parts)).items() if site.objects.has(lock)}


def _noted(path: Path) -> dict[str, str]:
    with contextlib.suppress(OSError, StoreError, ValueError):
        found = read_json(path)
        if isinstance(found, dict):
            return {name: lock for name, lock in found.items() if isinstance(lock, str)}
    return {}


def _place(site: Site, parts: Mapping[str, str]) -> Path:
    wanted = site.wanted
    question: Json = {
        "parts": dict(parts),
        "python": wanted.python or "",
        "build": list(wanted.build_requirements),
    }
    return site.cache / "locks" / f"for-{sha256_of(canonical(question))[:32]}.json"
