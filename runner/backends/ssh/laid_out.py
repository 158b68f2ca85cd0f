"""Source files of a run, brought out of the store for as long as somebody reads them here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runner.worker.manifest import SYMLINK, Entry, materialise

if TYPE_CHECKING:
    from runner.worker.objects import Objects
    from runner.worker.spec import RunSpec


@contextmanager
def laid_out(spec: RunSpec, entries: Iterable[Entry], objects: Objects) -> Iterator[Path]:
    """Bring out what the store has of some entries of a run's snapshot; yield the project's directory."""
    with tempfile.TemporaryDirectory(prefix="mlrun-") as name:
        materialise([entry for entry in entries if objects.has(entry.sha256)], objects, Path(name))
        project = Path(name, spec.snapshot.subdirectory)
        project.mkdir(parents=True, exist_ok=True)
        yield project


def describing(spec: RunSpec, entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that describe the run's environment; all, where one of them leads to another."""
    prefix = spec.snapshot.subdirectory
    names = {os.fsencode(os.path.normpath(f"{prefix}/{file.path}".lstrip("/"))) for file in spec.environment.files}
    found = [entry for entry in entries if entry.path in names]
    return list(entries) if any(entry.mode == SYMLINK for entry in found) else found
