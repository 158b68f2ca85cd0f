"""Runs that wait in a queue, maybe for days, until they use an environment: it is not removed meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from runner.worker.facts import InstalledEnvironment, Start
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory


def await_turn(environment: InstalledEnvironment, run: RunDirectory) -> None:
    """Note that a run will use an environment of the cache; a cache that cannot be written serves all the same."""
    if environment.key is not None:
        with contextlib.suppress(OSError):
            Path(f"{environment.prefix}.waits-{run.id}").write_bytes(os.fsencode(run.path))


def is_awaited(prefix: Path) -> bool:
    """Whether a run still waits for its turn to use an environment; notes of those that do not are removed."""
    awaited = False
    for note, run in _notes(prefix):
        if run.path.is_dir() and not run.has(Outcome) and not run.has(Start):  # from then on it holds the lock
            awaited = True
        else:
            note.unlink(missing_ok=True)
    return awaited


def _notes(prefix: Path) -> Iterator[tuple[Path, RunDirectory]]:
    for note in prefix.parent.glob(f"{prefix.name}.waits-*"):
        with contextlib.suppress(OSError):
            yield note, RunDirectory(Path(os.fsdecode(note.read_bytes())))
