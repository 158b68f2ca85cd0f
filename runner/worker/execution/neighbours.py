"""Which runs worked in the same directory at the same time: their outputs cannot be told apart by looking."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

from runner.worker.facts import Claim, Request, Start
from runner.worker.processes import is_alive
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory

Book = dict[str, Any]


def enter(cache: Path, root: Path, run: RunDirectory) -> None:
    """Note that a run begins to work in place. A cache that cannot be written makes no notes."""
    request = run.find(Request)
    with _book(cache, root) as book:
        if book is None:
            return
        runs = book["runs"]
        for each in runs.values():
            if each["left"] is None and not _is_at_work(RunDirectory(Path(each["directory"]))):
                each["left"] = book["turn"]
        if all(each["left"] is not None for each in runs.values()):
            runs.clear()
        book["turn"] += 1
        parent = None if request is None else request.parent
        runs[run.id] = {"entered": book["turn"], "left": None, "directory": str(run.path), "parent": parent}


def leave(cache: Path, root: Path, run: RunDirectory) -> tuple[str, ...]:
    """Note that a run is over; return the ids of those that overlapped with it, save its ancestors and descendants."""
    with _book(cache, root) as book:
        if book is None or run.id not in book["runs"]:
            return ()
        runs = book["runs"]
        mine = runs[run.id]
        book["turn"] += 1
        mine["left"] = book["turn"]
        others = {name for name, each in runs.items() if each["left"] is None or each["left"] > mine["entered"]}
        kin = {name for name in others if run.id in _ancestry(runs, name) or name in _ancestry(runs, run.id)}
        return tuple(sorted(others - kin - {run.id}))


def _ancestry(runs: Book, name: str) -> set[str]:
    found: set[str] = set()
    parent: Optional[str] = runs.get(name, {}).get("parent")
    while parent is not None and parent not in found:
        found.add(parent)
        parent = runs.get(parent, {}).get("parent")
    return found


def _is_at_work(run: RunDirectory) -> bool:
    claim = run.find(Claim) if not run.has(Outcome) else None
    if claim is None:
        return False
    start = run.find(Start)
    return is_alive(claim.worker) is not False or (start is not None and is_alive(start.child) is not False)


@contextmanager
def _book(cache: Path, root: Path) -> Iterator[Optional[Book]]:
    """Hold the notes on a directory, alone; they are written back at the end."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:32]
    path = cache / "places" / f"{name}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield None
        return
    with os.fdopen(descriptor, "r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        book = _read(stream.read())
        yield book
        data = json.dumps(book).encode("ascii")
        stream.seek(0)
        stream.write(data)
        stream.truncate(len(data))  # last: a file that was cut to nothing is flushed to the disk when it is closed


def _read(data: bytes) -> Book:
    try:
        book: Book = json.loads(data)
        book["turn"] += 0
        assert all(each["entered"] and "left" in each and each["directory"] for each in book["runs"].values())
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
        return {"turn": 0, "runs": {}}
    return book
