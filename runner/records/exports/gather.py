"""What a re-run elsewhere needs of a run, and where its bytes lie on this host today."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import field
from pathlib import Path

from runner.errors import IntegrityError
from runner.records import contents
from runner.records.exports.listing import Content, File, Listing
from runner.records.needs import needs
from runner.records.origin import origin_of
from runner.records.places import lines_of, place_of
from runner.records.restore import files_of
from runner.store.store import Store
from runner.worker.execution.opened import inputs_of
from runner.worker.facts import SourceFacts
from runner.worker.hashing import sha256_of, sha256_of_file
from runner.worker.results import FileFact
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.values import dataclass

_NAMED = 3  # files that a remark names

LOGS = ("stdout.log", "stderr.log", "worker.log")


@dataclass(frozen=True)
class Gathered:
    """A listing, where the bytes lie, and what is not among them."""

    listing: Listing
    places: dict[str, Path] = field(default_factory=dict)  # by digest
    remarks: tuple[str, ...] = ()


def gather(
    run: RunDirectory, store: Store, *, logs: bool = False, observed: bool = False, archives: Iterable[str] = ()
) -> Gathered:
    """Return what of an ended run travels; IntegrityError where an object that it is promised by is gone.

    ``logs``: what the command printed, too. ``observed``: also files that were lying there and nobody declared.
    ``archives``: of the packages, which are in the store.
    """
    gatherer = _Gatherer(run, store)
    gatherer.files(logs)
    gatherer.objects()
    gatherer.inputs(observed)
    gatherer.others(archives)
    listing = Listing(run.id, tuple(gatherer.named), tuple(gatherer.contents()), tuple(gatherer.without))
    return Gathered(listing, gatherer.places, tuple(gatherer.remarks))


class _Gatherer:
    """Collects what travels."""

    def __init__(self, run: RunDirectory, store: Store) -> None:
        self._run, self._store = run, store
        self._spec = run.read(RunSpec)
        self.named: list[File] = []
        self._objects: dict[str, Content] = {}
        self.places: dict[str, Path] = {}
        self.without: list[str] = []
        self.remarks: list[str] = []

    def contents(self) -> list[Content]:
        """Return the objects in the order of their digests."""
        return [self._objects[sha256] for sha256 in sorted(self._objects)]

    def files(self, logs: bool) -> None:
        """Take the record, its seal, and the files that it lists."""
        run = self._run
        origin = origin_of(run)
        missing = () if origin is None else origin.without
        signatures = sorted(path.name for path in run.signatures.glob("*.sig"))
        after = [run.record.name, run.seal.name, run.contents.name, *(f"signatures/{name}" for name in signatures)]
        sealed = contents.parse(run.contents.read_bytes()) if run.contents.exists() else contents.names(run)
        for name in (*after, run.notes.name, *sealed):
            if (run.path / name).is_file():
                private = name in LOGS and (run.path / name).stat().st_size > 0
                self._file(name) if logs or not private else self.without.append(name)
        self.without += [name for name in missing if name not in self.without and not (run.path / name).exists()]

    def objects(self) -> None:
        """Take the source, the patch, the lock, and the stored outputs and inputs."""
        large: list[str] = []
        if self._spec.environment.kind == "container":
            image = self._spec.environment.image or "its image"
            self.remarks.append(f"{image} is not taken along: it has to be there, or in a registry")
        for need in needs(self._run, self._store.objects.read):
            if self._store.objects.has(need.sha256):
                self._object(need.sha256, self._store.objects.path(need.sha256))
            elif need.kept:
                message = f"the object {need.sha256[:12]} ({need.what}) is not in the store"
                raise IntegrityError(message, hint=f"`mlrun verify {self._run.id}` says what else is missing")
            else:
                large.append(need.what.removeprefix("the source file "))
                self._large(large[-1], need.sha256)
        if large:
            self.remarks += [f"{path} was too large to be stored, and is taken from where it lies" for path in large]

    def inputs(self, observed: bool) -> None:
        """Take the inputs from where they lie, if they still are what they were, else from the store."""
        files, left = inputs_of(self._run), []
        for fact in () if files is None else files.files:
            if fact.sha256 is None or fact.sha256 in self._objects:
                continue
            if fact.basis in ("observed", "traced") and not observed:  # `.env` may have been opened, and is nobody's
                left.append(fact.path)
            elif not (self._take(fact) or self._take_stored(fact)):
                self.remarks.append(f"the input {fact.path} is not what it was, or gone: a re-run will look for it")
        if left:
            more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
            names = ", ".join(left[:_NAMED])
            self.remarks.append(f"left out, for they were lying there undeclared: {names}{more}; --observed takes them")

    def others(self, digests: Iterable[str]) -> None:
        """Take other objects of the store."""
        for sha256 in digests:
            self._object(sha256, self._store.objects.path(sha256))

    def _take(self, fact: FileFact) -> bool:
        assert fact.sha256 is not None
        place = place_of(fact, self._run, self._spec)
        if place is None:
            return False
        try:
            if place.is_dir():
                return self._directory(fact.sha256, place)
            if sha256_of_file(place) != fact.sha256:
                return False
        except OSError:
            return False
        self._object(fact.sha256, place)
        return True

    def _take_stored(self, fact: FileFact) -> bool:
        """Take an input that another run has written, and that the store has for that."""
        objects = self._store.objects
        assert fact.sha256 is not None
        members = files_of(fact, objects)
        if members is None and not objects.has(fact.sha256, fact.size):
            return False
        for sha256 in (fact.sha256, *(members or {}).values()):
            self._object(sha256, objects.path(sha256))
        return True

    def _directory(self, sha256: str, place: Path) -> bool:
        """Take a directory: the text of which its digest is one, and each of its files."""
        pairs, lines = lines_of(place)
        if sha256_of(lines) != sha256:
            return False
        self._object(self._store.objects.add(lines), self._store.objects.path(sha256))
        for path, digest in pairs:
            self._object(digest, place / path)
        return True

    def _large(self, path: str, sha256: str) -> None:
        source = self._run.read(SourceFacts)
        place = Path(source.root) / path
        if not posixpath.isabs(source.root) or not place.is_file() or sha256_of_file(place) != sha256:
            message = f"{path} was too large to be stored, and is not at its place any more, or has changed ({place})"
            raise IntegrityError(message, hint="bring it back: without it nobody can run this again")
        self._object(sha256, place)

    def _object(self, sha256: str, place: Path) -> None:
        if sha256 not in self._objects:
            self._objects[sha256] = Content(sha256, place.stat().st_size)
            self.places.setdefault(sha256, place)

    def _file(self, name: str) -> None:
        path = self._run.path / name
        sha256 = sha256_of_file(path)
        self.named.append(File(name, path.stat().st_size, sha256))
        self.places[sha256] = path
