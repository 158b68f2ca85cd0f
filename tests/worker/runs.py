"""Small real runs for tests: a project, its snapshot in a store, a run directory, and a worker that carries it out."""

import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path

import runner
from runner.worker.clock import now
from runner.worker.facts import Actor, Placement, Request, SourceFacts
from runner.worker.manifest import EXECUTABLE, FILE, SYMLINK, Entry, encode_manifest
from runner.worker.objects import Objects
from runner.worker.processes import myself
from runner.worker.rundir import RunDirectory
from runner.worker.spec import EnvironmentSpec, RunSpec, Snapshot

WORKER = Path(runner.__file__).resolve().parent / "worker"
FLAGS = ("-X", "utf8", "-S", "-E")


@dataclass
class Bench:
    """A store, a cache and a project; what a backend and a store do, without either."""

    home: Path
    project: Path
    workers: list = field(default_factory=list)

    @property
    def root(self):
        return self.home / "store"

    @property
    def cache(self):
        return self.home / "cache"

    @property
    def objects(self):
        return Objects(self.root / "objects")

    def snapshot(self, *, kind="directory", subdirectory="", without=()):
        entries = []
        for path in sorted(self.project.rglob("*")):
            name = path.relative_to(self.project).as_posix()
            if name in without or (path.is_dir() and not path.is_symlink()):
                continue
            if path.is_symlink():
                entries.append(Entry(os.fsencode(name), SYMLINK, self.objects.add(os.fsencode(path.readlink()))))
            else:
                mode = EXECUTABLE if os.access(path, os.X_OK) else FILE
                entries.append(Entry(os.fsencode(name), mode, self.objects.add_file(path)))
        return Snapshot(self.objects.add(encode_manifest(entries)), kind, subdirectory)

    def spec(self, command, *, without=(), subdirectory="", **fields):
        plain = {
            "project": "p",
            "entry_point": "main",
            "parameters": (),
            "environment": EnvironmentSpec(kind="host"),
            "snapshot": self.snapshot(without=without, subdirectory=subdirectory),
        }
        return RunSpec(command=command, **{**plain, **fields})

    def plan(self, spec, *, mode="in-place", parent=None, source=None):
        run = RunDirectory(self.root / "runs" / str(uuid.uuid4()))
        run.path.mkdir(parents=True)
        run.write(
            Request(
                id=run.id,
                created=now(),
                actor=Actor("ada"),
                uri=".",
                argv=(),
                cwd="/",
                tool="test",
                submitter=myself(),
                mode=mode,
                parent=parent,
            )
        )
        run.write(spec)
        run.write(source or SourceFacts("directory", str(self.project)))
        return run

    def place(self, run, *, fresh=False, **fields):
        root = None if fresh else str(self.project)
        run.write(Placement(store=str(self.root), cache=str(self.cache), root=root, **fields))

    def prepared(self, command, *, fresh=False, placement=None, parent=None, source=None, **fields):
        run = self.plan(
            self.spec(command, **fields), mode="fresh" if fresh else "in-place", parent=parent, source=source
        )
        self.place(run, fresh=fresh, **(placement or {}))
        return run

    def start(self, run, *, python=sys.executable, worker=WORKER, env=None, **options):
        with (run.path / "worker.log").open("ab") as log:
            argv = [python, *FLAGS, str(worker), "start", str(run.path)]
            options = {"stdin": subprocess.DEVNULL, **options}
            process = subprocess.Popen(
                argv,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "MLRUN_WORKER": run.id, **(env or {})},
                **options,
            )
        self.workers.append(process)
        return process

    def carry_out(self, command, *, env=None, **options):
        run = self.prepared(command, **options)
        assert self.start(run, env=env).wait(60) == 0, run.worker_log.read_text()
        return run


def until(condition, seconds=10.0):
    """Wait for a condition, and return what it gave."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


def files(facts):
    """Return facts of files by their paths."""
    return {fact.path: fact for fact in facts.files}


__all__ = ["FLAGS", "WORKER", "Bench", "files", "replace", "until"]
