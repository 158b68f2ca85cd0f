"""Inputs of a past run brought out of the object store: a file, a directory, or the files that a glob names."""

from __future__ import annotations

import os
import posixpath
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from runner.records.members import members_of
from runner.records.places import lines_of
from runner.worker.execution.inputs import digest_of
from runner.worker.files import note_use
from runner.worker.hashing import sha256_of
from runner.worker.objects import Objects
from runner.worker.results import FileFact
from runner.worker.spec import Input

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BITS = 0o777


def restore(each: Input, facts: Iterable[FileFact], objects: Objects, root: Path) -> str | None:
    """Return a place under ``root`` with the bytes that an input had; None where the store lacks any of them.

    The place ends with the input's own path where that is relative. ``facts`` are those of the run.
    """
    mine = [fact for fact in facts if fact.name == each.name]
    if each.sha256 is None or (mine and digest_of(each, mine) != each.sha256):
        return None
    if not _SHA256.fullmatch(each.sha256) or not all(map(_stays, [each.path, *(fact.path for fact in mine)])):
        return None
    if len(mine) == 1 and mine[0].path == each.path:
        files = files_of(mine[0], objects)
        if files is not None:
            inner = {posixpath.join(_relative(each.path), path): sha256 for path, sha256 in files.items()}
            return str(_tree(each.sha256, inner, {}, objects, root) / _relative(each.path))
    elif mine:
        inner = {_relative(fact.path): fact.sha256 or "" for fact in mine}
        if not all(objects.has(sha256) for sha256 in inner.values()):
            return None
        modes = {_relative(fact.path): fact.mode for fact in mine}
        return str(_tree(each.sha256, inner, modes, objects, root) / _relative(each.path))
    mode, size = (mine[0].mode, mine[0].size) if mine else (0o644, None)
    return restore_file(each.path, each.sha256, mode, objects, root) if objects.has(each.sha256, size) else None


def restore_file(path: str, sha256: str, mode: int, objects: Objects, root: Path) -> str:
    """Bring an object out under its file's name, checked; return where."""
    place = root / sha256 / posixpath.basename(path)
    aside = place.with_name(f".{secrets.token_hex(8)}")
    place.parent.mkdir(parents=True, exist_ok=True)
    objects.copy_to(sha256, aside, mode & _BITS | 0o600)
    aside.replace(place)
    return str(place)


def files_of(fact: FileFact, objects: Objects) -> Mapping[str, str] | None:
    """Return the files of an input directory whose text and files are all in the store; None for anything else."""
    found = members_of(fact, objects)
    if found is None or not all(_stays(path) and not posixpath.isabs(path) for path in found):
        return None
    if not all(objects.has(sha256) for sha256 in found.values()):
        return None
    return found if sum(objects.path(each).stat().st_size for each in found.values()) == fact.size else None


def _tree(sha256: str, files: Mapping[str, str], modes: Mapping[str, int], objects: Objects, root: Path) -> Path:
    """Return a directory with files; one that was made before is used if it still is what it was."""
    place = root / f"{sha256}.tree"
    wanted = os.fsencode("".join(sorted(f"{digest}  {path}\n" for path, digest in files.items())))
    if place.is_dir():
        if sha256_of(lines_of(place)[1]) == sha256_of(wanted):
            note_use(place)
            return place
        place = root / f"{sha256}.{secrets.token_hex(4)}"
    aside = root / f".{secrets.token_hex(8)}"
    for path, digest in files.items():
        target = aside / path
        target.parent.mkdir(parents=True, exist_ok=True)
        objects.copy_to(digest, target, modes.get(path, 0o644) & _BITS | 0o600)
    try:
        aside.rename(place)
    except OSError:  # another re-run was faster
        return aside
    return place


def _relative(path: str) -> str:
    clean = posixpath.normpath(path)
    return posixpath.basename(clean) if posixpath.isabs(clean) else clean


def _stays(path: str) -> bool:
    return ".." not in path.split("/")
