"""The objects that a run names, and what each is to it: what verification reads and what travels in a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from runner.errors import MlrunError
from runner.worker.facts import InstalledEnvironment, SourceFacts
from runner.worker.manifest import decode_manifest
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.values import dataclass

Read = Callable[[str], bytes]  # an object's digest -> its bytes, checked; MlrunError where they cannot be had


@dataclass(frozen=True)
class Need:
    """An object, and what it is."""

    sha256: str
    what: str
    kept: bool = True  # recorded as stored; else only its digest is promised


def needs(run: RunDirectory, read: Read) -> Iterator[Need]:
    """Yield what a run names, the snapshot first; an object can be several things. FormatError for damaged files.

    Of a manifest that is missing or damaged only itself is yielded: it alone knows its files.
    """
    spec, source = run.read(RunSpec), run.find(SourceFacts)
    yield from _snapshot(spec, source, read)
    if source is not None and source.patch is not None:
        yield Need(source.patch, "the patch of uncommitted changes")
    installed = run.find(InstalledEnvironment)
    locks = {spec.environment.lock, None if installed is None else installed.lock} - {None}
    for lock in sorted(each for each in locks if each is not None):
        yield Need(lock, "the environment's lock")
    for path, kind in ((run.outputs, "output"), (run.inputs, "input")):
        files = run.read_files(path)
        for fact in () if files is None else files.files:
            if fact.stored and fact.sha256 is not None:
                yield Need(fact.sha256, f"the {kind} {fact.path}")


def _snapshot(spec: RunSpec, source: SourceFacts | None, read: Read) -> Iterator[Need]:
    yield Need(spec.snapshot.manifest, "the snapshot's manifest")
    large = set() if source is None else set(source.not_stored)
    try:
        entries = decode_manifest(read(spec.snapshot.manifest))
    except MlrunError:
        return
    for entry in entries:
        path = os.fsdecode(entry.path)
        yield Need(entry.sha256, f"the source file {path}", kept=path not in large)
