"""Records as ended runs leave them, made of what a test is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.records.basics import Digest
from runner.records.metrics import read_metrics
from runner.records.model import Record, Relations, Run, Tool, Why
from runner.records.results import Metrics, Output, Result
from runner.records.setting import Code, EntryPoint, Environment, Execution, Interpreter, Package, Platform
from runner.worker.facts import Actor, Gap, Gpu
from runner.worker.hashing import sha256_of
from runner.worker.results import Usage

AT = "2026-11-23T10:00:00.000+00:00"
LOCK = Digest("1" * 64)


def a_digest(text: str | bytes) -> Digest:
    return Digest(sha256_of(text.encode() if isinstance(text, str) else text))


def an_output(path: str, content: str = "x", basis: str = "declared", **changes: Any) -> Output:
    return replace(Output(path, len(content), a_digest(content), basis), **changes)


def metrics_of(directory, *lines: str) -> Metrics:
    path = directory / "metrics.jsonl"
    path.write_text("\n".join(lines))
    return read_metrics(path)[0]


def a_record(**changes: Any) -> Record:
    """Return a record; a key names a group, or `group__field` one field of it."""
    interpreter = Interpreter("file:///python", "3.11.7", "cpython", "cp311", "cp311", "main", "linux", a_digest("py"))
    record = Record(
        run=Run("01900000-0000-7000-8000-000000000001", "succeeded", AT, started=AT, ended=AT),
        actor=Actor("ada"),
        why=Why(),
        code=Code("git", ".", "file:///x", a_digest("manifest"), commit="c" * 40, dirty=False),
        entry_point=EntryPoint("iris", "main", "python train.py"),
        parameters=(),
        environment=Environment(
            "virtualenv",
            lock=LOCK,
            installed=a_digest("installed"),
            interpreter=interpreter,
            packages=(Package("numpy", "2.0", (LOCK,)),),
        ),
        platform=Platform("Linux", "6.1", "x86_64", "glibc", "Xeon", ("avx2",), 8, 2**34, (Gpu("A100", "550"),)),
        execution=Execution("local", "lab1", environ={"OMP_NUM_THREADS": "4"}),
        inputs=(),
        outputs=(),
        logs={},
        metrics=Metrics(),
        result=Result(exit_code=0, usage=Usage(1.0, 1.0, 0.0)),
        relations=Relations(),
        spec_digest=a_digest("spec"),
        pinned_digest=a_digest("pinned"),
        tool=Tool("mlproject-runner", "0.1.0"),
        gaps=(),
    )
    for key, value in changes.items():
        group, _, field = key.partition("__")
        record = replace(record, **{group: replace(getattr(record, group), **{field: value}) if field else value})
    return record


def a_gap(field: str) -> tuple[Gap, ...]:
    return (Gap(field, "cut short"),)
