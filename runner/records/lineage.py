"""Which runs made a file, from what, and what became of it: a graph of runs, tied together by the digests of files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from runner.errors import MlrunError
from runner.records.finish import finish
from runner.records.notes import Note, read_notes
from runner.store.index import Touch
from runner.store.store import Store
from runner.store.summary import row_of_record
from runner.worker.codec import encode
from runner.worker.files import Json
from runner.worker.values import dataclass

UP, DOWN = "up", "down"
MOST_RUNS = 1000  # that one answer follows; it says where it stopped
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # an empty file is nobody's


@dataclass(frozen=True)
class Link:
    """A file that a run read (upwards) or wrote (downwards), and the runs at its other end."""

    path: str
    sha256: str | None
    basis: str
    runs: tuple[str, ...] = ()  # that wrote it, or read it; several where they are not to be told apart


@dataclass(frozen=True)
class Code:
    """What source a run executed."""

    snapshot: str
    commit: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    url: str | None = None


@dataclass(frozen=True)
class Step:
    """A run of the graph. One that is named by a record and no longer in the store has its id alone."""

    run: str
    name: str = ""
    project: str = ""
    entry_point: str = ""
    status: str = ""
    created: str = ""
    who: str = ""
    why: str = ""
    notes: tuple[Note, ...] = ()
    code: Code | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    rerun_of: str | None = None
    reused: str | None = None
    links: tuple[Link, ...] = ()
    known: bool = True


@dataclass(frozen=True)
class Subject:
    """What is asked about: a run, or a file or directory by its bytes."""

    run: str | None = None
    path: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Lineage:
    """The answer: where it begins, and every run that can be reached from there."""

    subject: Subject
    direction: str
    begins: tuple[str, ...]  # the run itself; the writers (upwards) or readers (downwards) of the file, newest first
    steps: Mapping[str, Step]
    complete: bool = True  # False: there are more than MOST_RUNS

    def to_json(self) -> Json:
        """Return it as JSON."""
        return encode(self)


def trace(subject: Subject, store: Store, direction: str = UP) -> Lineage:
    """Follow a file or a run to where it is from, or to what was made of it."""
    begins = (subject.run,) if subject.run is not None else _begin(subject, store, direction)
    steps: dict[str, Step] = {}
    waiting = deque(begins)
    while waiting and len(steps) < MOST_RUNS:
        identity = waiting.popleft()
        if identity not in steps:
            steps[identity] = step = _step(identity, store, direction)
            waiting.extend(run for link in step.links for run in link.runs)
    return Lineage(subject, direction, begins, steps, not any(run not in steps for run in waiting))


def _begin(subject: Subject, store: Store, direction: str) -> tuple[str, ...]:
    if subject.sha256 in (None, NOTHING):
        return ()
    digests = [str(subject.sha256)]
    ask = store.index.producers_of if direction == UP else store.index.readers_of
    return _innermost(_runs(ask(digests).get(digests[0], ())), store)


def _step(identity: str, store: Store, direction: str) -> Step:
    run = store.directory(identity)
    try:
        record: Any = finish(run, store)
    except (MlrunError, OSError):  # it was removed, or its files are damaged: its id is all that is left
        return Step(identity, known=False)
    links = _sources(record, store) if direction == UP else _uses(record, store)
    about, entry, code = record["run"], record["entry_point"], record["code"]
    return Step(
        run=identity,
        name=about["name"],
        project=entry["project"],
        entry_point=entry["name"],
        status=about["status"],
        created=about["created"],
        who=record["actor"]["name"] or record["actor"]["user"],
        why=record["why"]["text"],
        notes=read_notes(run),
        code=Code(code["snapshot"]["sha256"], code["commit"], code["branch"], code["dirty"], code["url"]),
        parameters={item["name"]: item["raw"] for item in record["parameters"]},
        parent=record["relations"]["parent"],
        rerun_of=record["relations"]["rerun_of"],
        reused=record["relations"].get("reused"),
        links=tuple(links),
    )


def _sources(record: Any, store: Store) -> Iterable[Link]:
    """Return what a run read: its writers are those the record names, and those that came into the store since."""
    digests = [item["digest"]["sha256"] if item["digest"] else None for item in record["inputs"]]
    writers = store.index.producers_of([digest for digest in digests if digest not in (None, NOTHING)])
    for item, sha256 in zip(record["inputs"], digests, strict=True):
        earlier = [touch for touch in writers.get(sha256 or "", ()) if touch.created < record["run"]["created"]]
        runs = dict.fromkeys((*_runs(earlier), *item["produced_by"]))
        yield Link(item["path"], sha256, item["basis"], _innermost(tuple(runs), store))


def _uses(record: Any, store: Store) -> Iterable[Link]:
    """Return what a run wrote, directories too, with the later runs that read the same bytes."""
    row = row_of_record(record)
    readers = store.index.readers_of([sha256 for sha256, _ in row.outputs if sha256 != NOTHING])
    bases = {item["path"]: item["basis"] for item in record["outputs"]}
    for sha256, path in row.outputs:
        later = [touch for touch in readers.get(sha256, ()) if touch.created > row.summary.created]
        yield Link(path, sha256, bases.get(path, "declared"), _innermost(_runs(later), store))


def _innermost(runs: tuple[str, ...], store: Store) -> tuple[str, ...]:
    """Leave out runs in which another of them took place: a pipeline in place sees the files of its steps."""
    if len(runs) < 2:  # noqa: PLR2004 - nothing to choose from
        return runs
    outer = {summary.parent for summary in map(store.index.get, runs) if summary is not None}
    return tuple(run for run in runs if run not in outer)


def _runs(touches: Iterable[Touch]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(touch.run for touch in touches))
