"""Objects that no run names, and what work that broke off left behind: found and removed, beside runs that go on.

What is named is read without a lock, then once more under it for the runs that are new or had not ended. An object
that a running worker may just have added is younger than the oldest run that goes on: it is spared. A manifest goes
before the objects it names, because a manifest that is there promises them.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Container, Iterator
from datetime import datetime
from pathlib import Path

from runner.errors import MlrunError, StoreError
from runner.store import layout, locks
from runner.store.store import Store
from runner.worker.facts import Request
from runner.worker.look import look
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.values import dataclass

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_SNAPSHOT = re.compile(rb'"manifest": ?"([0-9a-f]{64})"')
_MANIFEST = re.compile(rb"(?:100644|100755|120000) [0-9a-f]{64}\t")
_DAY = 86400.0
_SKEW = 60.0  # seconds that a file server's clock may be off
_PATIENCE = 10.0


@dataclass(frozen=True)
class Freed:
    """What was removed, or would be."""

    objects: int
    bytes: int
    leftovers: int = 0  # temporary files and directories of work that broke off more than a day ago


@dataclass(frozen=True)
class _Object:
    sha256: str
    path: Path
    size: int
    touched: float  # when it was last asked to be there, in s since the epoch


def collect(store: Store, dry_run: bool = False) -> Freed:
    """Remove what no run names; StoreError where runs are being started all the while."""
    named: set[str] = set()
    manifests: set[str] = set()
    settled = {run.id for run in _mark(store, set(), named, manifests) if run.has(Outcome)}
    for path in (store.cache / "locks").rglob("*"):  # a lock is used until somebody asks for an upgrade
        if path.is_file():
            named.update(_digests(path.read_bytes()))
    with locks.exclusive(store.root, _PATIENCE):
        others = _mark(store, settled, named, manifests)
        spared = min((begun for run in others if (begun := _begun(run)) is not None), default=math.inf)
        garbage = [item for item in _objects(store) if item.sha256 not in named and item.touched < spared]
        leftovers = list(_leftovers(store))
        if not dry_run:
            _remove(garbage, leftovers)
    return Freed(len(garbage), sum(item.size for item in garbage), len(leftovers))


def _mark(store: Store, settled: Container[str], named: set[str], manifests: set[str]) -> list[RunDirectory]:
    """Add what the runs that are not in ``settled`` name; return these runs."""
    runs = [run for run in store.runs() if run.id not in settled]
    for run in runs:
        for path in run.path.glob("*.json"):
            data = _bytes(path)
            named.update(_digests(data))
            for match in _SNAPSHOT.findall(data):
                manifest = match.decode()
                if manifest not in manifests:
                    manifests.add(manifest)
                    named.update(_digests(_bytes(store.objects.path(manifest))))
    return runs


def _digests(data: bytes) -> Iterator[str]:
    return (match.decode() for match in _DIGEST.findall(data))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _begun(run: RunDirectory) -> float | None:
    """Return when a run that goes on was made, in s since the epoch; None for one that has ended, or is damaged."""
    try:
        if look(run).ended:
            return None
        return datetime.fromisoformat(run.read(Request).created).timestamp() - _SKEW
    except (MlrunError, OSError, ValueError):
        return None


def _objects(store: Store) -> Iterator[_Object]:
    for directory in sorted(store.objects.root.glob("[0-9a-f][0-9a-f]")):
        with os.scandir(directory) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if re.fullmatch("[0-9a-f]{62}", entry.name):
                    yield _Object(directory.name + entry.name, Path(entry.path), status.st_size, status.st_mtime)


def _leftovers(store: Store) -> Iterator[Path]:
    now = time.time()
    for directory in (store.root / layout.ASIDE, store.objects.root / "tmp"):
        for path in directory.glob("*"):
            if now - path.lstat().st_mtime > _DAY:
                yield path


def _remove(garbage: list[_Object], leftovers: list[Path]) -> None:
    from runner.worker.execution.workplace import tear_down

    try:
        for item in sorted(garbage, key=lambda item: not _is_manifest(item.path)):
            item.path.unlink(missing_ok=True)
        for path in leftovers:
            tear_down(path) if path.is_dir() else path.unlink(missing_ok=True)
    except OSError as error:
        message = f"cannot remove {error.filename}: {error.strerror}"
        raise StoreError(message, hint="look at who owns the files of the store") from error


def _is_manifest(path: Path) -> bool:
    with path.open("rb") as stream:
        return _MANIFEST.match(stream.read(80)) is not None
