"""Locks that serve other machines: which lock answers a question for a platform and Python series, here and there."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from runner.errors import StoreError
from runner.worker.environment import versions
from runner.worker.environment.site import Site
from runner.worker.files import Json, canonical, read_json
from runner.worker.files import replace as rewrite
from runner.worker.hashing import sha256_of
from runner.worker.spec import Interpreter


def slug(interpreter: Interpreter) -> str:
    """Return what a lock of wheels is good for: "3.11 linux-x86_64"."""
    series = ".".join(map(str, versions.release_of(interpreter.version)[:2]))
    return f"{series} {interpreter.platform}"


def note(site: Site, parts: Mapping[str, str], good_for: str, lock: str) -> None:
    """Keep which lock was resolved for a question; a cache that cannot be written is left as it is."""
    path = _place(site, parts)
    found: Json = {**_read(path), good_for: lock}
    with contextlib.suppress(OSError, StoreError):
        path.parent.mkdir(parents=True, exist_ok=True)
        rewrite(path, canonical(found))


def known(site: Site, parts: Mapping[str, str]) -> dict[str, str]:
    """Return the locks of a question, by what they are good for; those whose bytes are here."""
    return {name: lock for name, lock in _read(_place(site, parts)).items() if site.objects.has(lock)}


def _read(path: Path) -> dict[str, str]:
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
