"""What an ended run has to hand out: the files of its directory, and the objects they name, by digest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Optional

from runner.worker.facts import InstalledEnvironment
from runner.worker.hashing import sha256_of, sha256_of_file
from runner.worker.objects import Objects
from runner.worker.remote.blobs import Blob
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.values import dataclass

_STAYS = frozenset(("work", "brought", "scratch"))
NOT_OURS = frozenset(  # names of what the near end writes itself, and takes from nobody
    (
        *("request.json", "spec.json", "source.json", "ticket.json", "seen.json", "imported.json", "secrets.json"),
        *("record.json", "record.json.sha256", "contents.sha256", "signatures", "notes.jsonl", "published"),
    )
)
_INLINE = 1 << 16  # bytes: smaller files come with the list of them
_MOST_INLINE = 1 << 20


@dataclass(frozen=True)
class Item:
    """A file of the run directory, or an object where there is no path."""

    sha256: str
    size: int
    path: Optional[str] = None  # POSIX, relative to the run directory
    inline: bool = False  # its bytes come with the list


@dataclass(frozen=True)
class Results:
    """All that can be handed out."""

    items: tuple[Item, ...]


def results(run: RunDirectory, objects: Objects) -> "tuple[Results, bytes]":
    """Return what a run has, and the bytes of its small files in the order of the list."""
    items: list[Item] = []
    inline: list[bytes] = []
    room = _MOST_INLINE
    for path in sorted(_files(run)):
        place = run.path / path
        size = os.stat(place).st_size
        if size <= min(_INLINE, room):
            data = place.read_bytes()
            items.append(Item(sha256_of(data), len(data), path, inline=True))
            inline.append(data)
            room -= len(data)
        else:
            items.append(Item(_digest(run, path), size, path))
    items += _objects(run, objects)
    return Results(tuple(items)), b"".join(inline)


def blob(item: Item, run: RunDirectory, objects: Objects, offset: int) -> Blob:
    """Return an item as it is sent."""
    place = objects.path(item.sha256) if item.path is None else run.path / item.path
    return Blob(item.sha256, item.size, str(place), offset)


def _files(run: RunDirectory) -> Iterator[str]:
    for directory, directories, files in os.walk(run.path):
        inner = os.path.relpath(directory, run.path)
        if inner == ".":
            directories[:] = [name for name in directories if name not in _STAYS and name not in NOT_OURS]
        for name in files:
            if inner == "." and (name in NOT_OURS or name.startswith(".")):
                continue
            path = os.path.normpath(os.path.join(inner, name))
            if os.path.isfile(run.path / path) and not os.path.islink(run.path / path):
                yield path


def _digest(run: RunDirectory, path: str) -> str:
    outcome = run.find(Outcome)
    log = None if outcome is None else outcome.logs.get(path.replace(".log", ""))
    if log is not None and path in ("stdout.log", "stderr.log") and os.stat(run.path / path).st_size == log.size:
        return log.sha256
    return sha256_of_file(run.path / path)


def _objects(run: RunDirectory, objects: Objects) -> Iterator[Item]:
    seen = set()
    installed = run.find(InstalledEnvironment)
    if installed is not None and installed.lock is not None and objects.has(installed.lock):
        seen.add(installed.lock)
        yield Item(installed.lock, os.stat(objects.path(installed.lock)).st_size)
    outputs = run.read_files(run.outputs)
    for fact in () if outputs is None else outputs.files:
        if fact.stored and fact.sha256 is not None and fact.sha256 not in seen and objects.has(fact.sha256):
            seen.add(fact.sha256)
            yield Item(fact.sha256, os.stat(objects.path(fact.sha256)).st_size)
