"""What a command logged as artifacts, sealed by digest: all files under `artifacts/` of the run and its sub-runs."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from runner.errors import StoreError
from runner.worker.execution.inputs import mode_of
from runner.worker.facts import Gap
from runner.worker.hashing import sha256_of, sha256_of_file
from runner.worker.objects import Objects
from runner.worker.results import FileFact, Files
from runner.worker.rundir import RunDirectory

LOGGED = "logged"  # the basis: the command handed the file to MLflow's client
_BYTECODE = "__pycache__"  # written where a model's own code is loaded: nobody logged it
_OTHER = "artifacts.logged"  # where the project has a file of its own at an artifact's path


def seal(run: RunDirectory, others: Files, objects: Objects) -> Files:
    """Return a run's outputs with its artifacts among them; their bytes are in the store, however many there are.

    They share them with the store, where the file system has hard links, and are read-only from now on.

    Their paths are relative to the run directory. No path comes twice: one that the project wrote too is one output
    where the bytes are the same, else the artifact's goes by another name.
    """
    found: dict[str, FileFact] = {fact.path: fact for fact in others.files}
    gaps: list[Gap] = []
    for path, status in walk(run):
        fact = _sealed(
            FileFact(path, status.st_size, None, LOGGED, mode=mode_of(status)), run.path, status, objects, gaps
        )
        mine = found.get(path)
        if mine is not None and mine.sha256 == fact.sha256 is not None:
            basis = mine.basis if mine.basis == "declared" else LOGGED
            fact = replace(mine, stored=mine.stored or fact.stored, basis=basis)
        elif mine is not None:
            fact = replace(fact, path=_OTHER + path[len(run.artifacts.name) :])
        found[fact.path] = fact
    files = tuple(found[path] for path in sorted(found))
    return replace(others, files=files, gaps=(*others.gaps, *gaps))


def so_far(run: RunDirectory) -> tuple[FileFact, ...]:
    """Return the artifacts of a run whose outputs were not sealed, or not yet: by digest, and not in the store."""
    facts = []
    for path, status in walk(run):
        with contextlib.suppress(OSError):  # removed, or being written
            place = f"{run.path}/{path}"
            link = stat.S_ISLNK(status.st_mode)
            sha256 = sha256_of(os.fsencode(os.readlink(place))) if link else sha256_of_file(place)
            facts.append(FileFact(path, status.st_size, sha256, LOGGED, mode=mode_of(status)))
    return tuple(facts)


def walk(run: RunDirectory) -> Iterator[tuple[str, os.stat_result]]:
    """Return the artifacts of a run and its sub-runs, by their paths in the run directory."""
    yield from _walk(str(run.path), run.artifacts.name)
    for child in _names(run.children):
        place = f"{run.children.name}/{child}"
        link = os.path.islink(run.path / place)
        yield from _walk(str(run.path), place if link else f"{place}/{run.artifacts.name}")


def _walk(root: str, directory: str) -> Iterator[tuple[str, os.stat_result]]:
    if os.path.islink(f"{root}/{directory}"):  # put there by hand: what lies behind it may be all the world's data
        yield directory, os.lstat(f"{root}/{directory}")
        return
    try:
        with os.scandir(f"{root}/{directory}") as stream:
            entries = sorted(stream, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = f"{directory}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if entry.name != _BYTECODE:
                yield from _walk(root, path)
            continue
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            yield path, status


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _sealed(blank: FileFact, root: Path, status: os.stat_result, objects: Objects, gaps: list[Gap]) -> FileFact:
    place = f"{root}/{blank.path}"
    try:
        if stat.S_ISLNK(status.st_mode):
            return replace(blank, sha256=objects.add(os.fsencode(os.readlink(place))), stored=True)
        return replace(blank, sha256=objects.adopt(place, status), stored=True)
    except StoreError as error:
        gaps.append(Gap("outputs", f"the artifact {blank.path} is not stored: {error.message}"))
    except OSError as error:
        gaps.append(Gap("outputs", f"the artifact {blank.path} cannot be read: {error.strerror}"))
    return blank
