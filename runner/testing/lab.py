"""Plans small real runs for the tests of a backend: a project, a store, and run directories in it."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from runner.backends.backend import Launch
from runner.store.store import Store
from runner.worker.clock import now
from runner.worker.facts import Actor, Request, SourceFacts
from runner.worker.manifest import EXECUTABLE, FILE, Entry, encode_manifest
from runner.worker.processes import myself
from runner.worker.rundir import RunDirectory
from runner.worker.spec import EnvironmentSpec, RunSpec, Snapshot


class Lab:
    """A project in a directory, and a store beside it."""

    def __init__(self, directory: Path) -> None:
        """Make both under a directory."""
        self.project = directory / "project"
        self.project.mkdir(parents=True)
        (self.project / "train.py").write_text("print('trained')\n")
        self.store = Store.open(directory / "store", directory / "cache")

    def planned(self, command: str, **fields: Any) -> RunDirectory:
        """Return the directory of a run of a command, planned and not yet submitted; ``fields`` are RunSpec's."""
        plain: dict[str, Any] = {
            "project": "lab",
            "entry_point": "main",
            "parameters": (),
            "environment": EnvironmentSpec(kind="host"),
            "snapshot": self._snapshot(),
        }
        spec = RunSpec(command=command, **{**plain, **fields})
        run = self.store.directory(str(uuid.uuid4()))
        run.path.mkdir(parents=True)
        actor = Actor("ada")
        for value in (
            Request(run.id, now(), actor, uri=".", argv=(), cwd="/", tool="test", submitter=myself()),
            spec,
            SourceFacts("directory", str(self.project)),
        ):
            run.write(value)
        return run

    def launch(self, **fields: Any) -> Launch:
        """Return how a run is to be launched: in the project's directory, where the backend can."""
        return Launch(**{"root": self.project, **fields})

    def _snapshot(self) -> Snapshot:
        entries = [
            Entry(
                os.fsencode(path.relative_to(self.project)),
                EXECUTABLE if os.access(path, os.X_OK) else FILE,
                self.store.objects.add_file(path),
            )
            for path in sorted(self.project.rglob("*"))
            if path.is_file()
        ]
        return Snapshot(self.store.objects.add(encode_manifest(entries)), "directory")
