"""Runs as their files say them, made in a store without running anything."""

from __future__ import annotations

from pathlib import Path

from runner.store.store import Store, new_id
from runner.worker.clock import now
from runner.worker.facts import Actor, Claim, Identity, Request, SourceFacts
from runner.worker.manifest import FILE, Entry, encode_manifest
from runner.worker.processes import myself
from runner.worker.results import FileFact, Files, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.spec import EnvironmentSpec, Parameter, RunSpec, Snapshot


def a_request(**changes) -> Request:
    values = {
        "id": new_id(),
        "created": now(),
        "actor": Actor("ada", "Ada Lovelace", "ada@example.org"),
        "uri": ".",
        "argv": ("mlrun", "run", "."),
        "cwd": "/",
        "tool": "mlproject-runner 0.1.0",
        "submitted_from": "here",
        "submitter": myself(),
    }
    return Request(**{**values, **changes})


def a_spec(store: Store, **changes) -> RunSpec:
    values = {
        "project": "iris",
        "entry_point": "main",
        "parameters": (Parameter("alpha", "float", "0.5"),),
        "command": "python train.py {alpha}",
        "environment": EnvironmentSpec("host"),
    }
    if "snapshot" not in changes:
        values["snapshot"] = a_snapshot(store, {"train.py": b"print()\n"})
    return RunSpec(**{**values, **changes})


def a_snapshot(store: Store, files: dict[str, bytes], subdirectory: str = "") -> Snapshot:
    entries = [Entry(path.encode(), FILE, store.objects.add(data)) for path, data in files.items()]
    return Snapshot(store.objects.add(encode_manifest(entries)), "directory", subdirectory)


def a_run(store: Store, *, spec: RunSpec | None = None, source: SourceFacts | None = None, **request) -> RunDirectory:
    return store.create(
        a_request(**request), spec or a_spec(store), source or SourceFacts("directory", "/gone/project", files=1)
    )


def end(run: RunDirectory, status: str = "succeeded", **outcome) -> RunDirectory:
    values = {"exit_code": 0 if status == "succeeded" else 1, "reason": None if status == "succeeded" else "exit"}
    run.write(Outcome(status=status, at=now(), **{**values, **outcome}))
    return run


def claim(run: RunDirectory, worker: Identity | None = None) -> None:
    run.write(Claim(worker or myself(), now()))


def wrote(run: RunDirectory, store: Store, files: dict[str, bytes], basis: str = "declared") -> None:
    facts = [FileFact(path, len(data), store.objects.add(data), basis, stored=True) for path, data in files.items()]
    run.write_files(run.outputs, Files(tuple(facts)))


def seen(run: RunDirectory, *facts: FileFact) -> None:
    run.write_files(run.inputs, Files(facts))


def everything_below(path: Path) -> set[str]:
    return {str(each.relative_to(path)) for each in path.rglob("*")}
