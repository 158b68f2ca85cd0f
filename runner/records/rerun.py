"""A past run as data to run again: its spec pinned to what was installed, and its inputs looked for and checked."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.errors import MlrunError
from runner.records.members import differences, members_in, members_of
from runner.records.origin import origin_of
from runner.records.restore import restore, restore_file
from runner.store.home import cache as default_cache
from runner.worker.execution.digests import Digests
from runner.worker.execution.inputs import Sight, digest_of, hash_declared, state_of
from runner.worker.execution.opened import inputs_of
from runner.worker.execution.workplace import Workplace
from runner.worker.facts import InstalledEnvironment, Placement, SourceFacts
from runner.worker.files import Json
from runner.worker.globs import matches
from runner.worker.hashing import digest_of_directory
from runner.worker.manifest import decode_manifest, followed, inside
from runner.worker.objects import Objects
from runner.worker.results import FileFact
from runner.worker.rundir import RunDirectory
from runner.worker.spec import Input, RunSpec

_MOST_NOTES = 5  # lines about observed inputs that are not what they were


@dataclass(frozen=True)
class InputCheck:
    """Where an input of a past run is today, and whether it still is what it was."""

    name: str  # Input.name; the path of an observed one
    place: str  # where it lies, or was looked for, on this host
    usable: bool  # the bytes at ``place`` are to be brought to the re-run
    stops: bool  # the run needs it, and it changed or vanished
    note: str = ""  # what to tell the user
    changed: bool = False  # a needed one that is there with other bytes, and is brought where that is allowed


def pinned_spec(past: RunDirectory) -> RunSpec:
    """Return a run's spec bound to the packages and interpreter that it had, its inputs to the bytes that it read.

    A run that ended before its environment was ready, or its inputs were hashed, leaves these as they were planned.
    """
    spec, installed, files = past.read(RunSpec), past.find(InstalledEnvironment), inputs_of(past)
    if installed is not None:
        spec = installed.pin(spec)
    if files is None:
        return spec
    pinned = [replace(each, sha256=_digest_then(each, files.files) or each.sha256) for each in spec.inputs]
    known = {each.name for each in spec.inputs}
    traced = [
        Input(fact.path, fact.path, sha256=fact.sha256)
        for fact in files.files
        if fact.basis == "traced" and fact.name not in known and fact.path not in known
    ]
    return replace(spec, inputs=(*pinned, *traced))


def check_inputs(past: RunDirectory, record: Json, spec: RunSpec, cache: Path | None = None) -> tuple[InputCheck, ...]:
    """Return where each input of ``spec``, and each observed one of the past run, is today.

    Looked for in the snapshot (which brings it along), at the place it had, then among the stored objects; of a run
    that came from another store first among the objects: its places are another machine's.
    ``record`` is the past run's; ``cache`` is the store's cache, where digests of unchanged files are known.
    """
    del record  # the files of the run say where its inputs were; the record leaves this host's places out
    search = _Search.of(past, spec, cache or default_cache())
    named = [search.check(each) for each in spec.inputs]
    observed = search.check_observed()
    search.digests.save()
    return (*named, *_brief(observed))


def _own_placement(past: RunDirectory) -> Placement | None:
    """Return where a run worked, if that was with this store: another machine's places mean nothing here."""
    placement = past.find(Placement)
    if placement is None or Path(placement.store).resolve() == past.path.parents[1].resolve():
        return placement
    return None


@dataclass
class _Search:
    """Where the inputs of a past run may be."""

    spec: RunSpec
    base: Path | None  # the project's directory at that time
    places: Mapping[str, str]  # by the input's name, at that time
    snapshot: Mapping[str, str]  # path relative to the project -> sha256
    objects: Objects
    restored: Path  # where stored objects are brought out as files
    digests: Digests
    facts: tuple[FileFact, ...] = field(default=())
    foreign: bool = False  # the run was made in another store

    @classmethod
    def of(cls, past: RunDirectory, spec: RunSpec, cache: Path) -> _Search:
        source, placement, files = past.read(SourceFacts), _own_placement(past), inputs_of(past)
        root = source.root if placement is None or placement.root is None else placement.root
        objects, subdirectory = Objects(past.path.parent.parent / "objects"), spec.snapshot.subdirectory
        return cls(
            spec=spec,
            base=Path(root) / subdirectory if posixpath.isabs(root) else None,
            places={} if placement is None else placement.inputs,
            snapshot=inside(followed(decode_manifest(objects.read(spec.snapshot.manifest)), objects), subdirectory),
            objects=objects,
            restored=cache / "inputs",
            digests=Digests(cache),
            facts=() if files is None else files.files,
            foreign=origin_of(past) is not None,
        )

    def check(self, each: Input) -> InputCheck:
        """Look for an input that the run is known to need."""
        place = self._place(each.path, each.name)
        if self._brought_by_snapshot(each):
            found = None if self.foreign else self._digest_now(each, place)
            same = found is None or each.sha256 in (None, found)
            note = "" if same else f"{each.path} has changed since: the run's own bytes are used, from its snapshot"
            return InputCheck(each.name, place, usable=False, stops=False, note=note)
        if self.foreign and (stored := restore(each, self.facts, self.objects, self.restored)) is not None:
            return InputCheck(each.name, stored, usable=True, stops=False)
        label = f"{each.name} ({each.path})" if each.parameter else each.path
        at, was = ("", "") if place == each.path else (f", at {place}", f": it was at {place}")
        found = self._digest_now(each, place)
        if found is None:
            stored = restore(each, self.facts, self.objects, self.restored)
            if stored is not None:
                note = f"{label} is not at {place} any more; its bytes are taken from the store"
                return InputCheck(each.name, stored, True, False, note)
            return InputCheck(each.name, place, usable=False, stops=True, note=f"{label} is missing{was}")
        if each.sha256 in (None, found):
            return InputCheck(each.name, place, usable=True, stops=False)
        note = f"{label} has changed: sha256 {each.sha256[:12]} then, {found[:12]} now{at}{self._which(each, place)}"
        return InputCheck(each.name, place, usable=False, stops=True, note=note, changed=True)

    def check_observed(self) -> list[InputCheck]:
        """Look for the files that the run may have read: they never stop a re-run."""
        facts = list(self._observed())
        if self.base is not None:
            self.digests.load(str(self.base), sum(fact.size for fact in facts))
        return [self._check_observed(fact) for fact in facts]

    def _observed(self) -> Iterator[FileFact]:
        """Return what was seen lying there, and neither declared nor part of the source."""
        declared = [each.path for each in self.spec.inputs if not posixpath.isabs(each.path)]
        for fact in self.facts:
            source = self.snapshot.get(fact.path) == (fact.sha256 or "")
            if fact.basis == "observed" and not source and not any(matches(each, fact.path) for each in declared):
                yield fact

    def _check_observed(self, fact: FileFact) -> InputCheck:
        place = self._place(fact.path, fact.path)
        if self.foreign and fact.sha256 is not None and self.objects.has(fact.sha256):
            return InputCheck(fact.path, self._restored(fact, fact.sha256), True, False)
        try:
            status = state_of(place, os.lstat(place))
            found = self.digests.of(place, status) if fact.sha256 is not None else None
        except OSError:
            if fact.sha256 is not None and self.objects.has(fact.sha256):
                return InputCheck(fact.path, self._restored(fact, fact.sha256), True, False)
            return InputCheck(fact.path, place, False, False, f"{fact.path}, which was there, is missing")
        if fact.sha256 is None:
            same = status.st_size == fact.size
            note = f"{fact.path} was not hashed, and is used as it is" if same else f"{fact.path} has another size now"
            return InputCheck(fact.path, place, same, False, note)
        if found == fact.sha256:
            return InputCheck(fact.path, place, True, False)
        return InputCheck(fact.path, place, False, False, f"{fact.path}, which was there, has changed")

    def _place(self, path: str, name: str) -> str:
        if name in self.places:
            return self.places[name]
        return path if posixpath.isabs(path) or self.base is None else str(self.base / path)

    def _brought_by_snapshot(self, each: Input) -> bool:
        if posixpath.isabs(each.path):
            return False
        path = posixpath.normpath(each.path)
        matched = {name: sha256 for name, sha256 in self.snapshot.items() if matches(each.path, name)}
        if path in matched:
            return each.sha256 in (None, matched[path])
        below = {name[len(path) + 1 :]: sha256 for name, sha256 in matched.items() if name.startswith(f"{path}/")}
        return bool(matched) and each.sha256 in (None, digest_of_directory((below or matched).items()))

    def _which(self, each: Input, place: str) -> str:
        """Return which files of a directory, or of a glob, are not what they were, as far as that is known."""
        mine = [fact for fact in self.facts if fact.name == each.name]
        sights = self._sights_now(each, place)
        if len(mine) == 1 and len(sights) == 1 and mine[0].path == each.path == sights[0].fact.path:
            then, now = members_of(mine[0], self.objects), members_in(sights[0].listing)
        else:
            then = {fact.path: fact.sha256 or "" for fact in mine}
            now = {sight.fact.path: sight.fact.sha256 or "" for sight in sights}
        words = differences(then, now) if then and now else ""
        return f": {words}" if words else ""

    def _digest_now(self, each: Input, place: str) -> str | None:
        """Return the digest of an input as the worker would find it; None where it is not there."""
        sights = self._sights_now(each, place)
        return digest_of(each, [sight.fact for sight in sights]) if sights else None

    def _sights_now(self, each: Input, place: str) -> tuple[Sight, ...]:
        inside = not posixpath.isabs(each.path) and place.endswith(f"/{each.path}")
        project = Path(place[: -len(each.path)]) if inside else (self.base or Path("/"))
        workplace = Workplace(project, project, fresh=False, entries=(), places={each.name: place})
        try:
            return hash_declared([replace(each, sha256=None)], workplace, self.digests, _silent)
        except MlrunError:
            return ()

    def _restored(self, fact: FileFact, sha256: str) -> str:
        return restore_file(fact.path, sha256, fact.mode, self.objects, self.restored)


def _digest_then(each: Input, facts: tuple[FileFact, ...]) -> str | None:
    mine = [fact for fact in facts if fact.name == each.name]
    return digest_of(each, mine) if mine and all(fact.sha256 for fact in mine) else None


def _brief(checks: list[InputCheck]) -> list[InputCheck]:
    """Keep the first notes, and say of the others how many they are."""
    noted = [index for index, check in enumerate(checks) if check.note]
    for index in noted[_MOST_NOTES:]:
        checks[index] = replace(checks[index], note="")
    if len(noted) > _MOST_NOTES:
        first = noted[_MOST_NOTES]
        note = f"{len(noted) - _MOST_NOTES} more files that were there are missing or have changed"
        checks[first] = replace(checks[first], note=note)
    return checks


def _silent(text: str) -> None:
    del text
