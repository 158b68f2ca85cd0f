"""The objects that a run names, and what each is to it: what verification reads and what travels in a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator

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
    """Yield what a run names, the snapshot first; an object can be several things. FormatError for damaged files."""
    spec, source = run.read(RunSpec), run.find(SourceFacts)
    yield from snapshot_needs(spec.snapshot.manifest, () if source is None else source.not_stored, read)
    yield from other_needs(run, spec, source)


def other_needs(run: RunDirectory, spec: RunSpec, source: SourceFacts | None) -> Iterator[Need]:
    """Yield what a run names beside its snapshot. FormatError for damaged files."""
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


def snapshot_needs(manifest: str, not_stored: Collection[str], read: Read) -> Iterator[Need]:
    """Yield what a snapshot names; of a manifest that is missing or damaged only itself: it alone knows its files."""
    yield Need(manifest, "the snapshot's manifest")
    large = set(not_stored)
    try:
        entries = decode_manifest(read(manifest))
    except MlrunError:
        return
    for entry in entries:
        path = os.fsdecode(entry.path)
        yield Need(entry.sha256, f"the source file {path}", kept=path not in large)
