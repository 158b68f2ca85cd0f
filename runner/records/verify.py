"""Whether a run is still what was sealed: its record, every file of its directory, every object that it names."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.errors import FormatError, MlrunError
from runner.records import contents
from runner.records.finish import finish
from runner.records.needs import Need, other_needs, snapshot_needs
from runner.records.origin import origin_of
from runner.records.seal import check_seal
from runner.store.store import Store
from runner.worker.facts import SourceFacts
from runner.worker.files import read_json
from runner.worker.hashing import sha256_of, sha256_of_file
from runner.worker.look import look
from runner.worker.objects import Objects
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that is not what was sealed; or, where it is not ``wrong``, that cannot be checked."""

    file: str  # relative to the store
    problem: str
    run: str | None = None
    wrong: bool = True
    unsigned: bool = False  # nothing was changed: nobody signed it who may


class ObjectCheck:
    """Reads each object, and what each snapshot names, once, however many runs name it."""

    def __init__(self, objects: Objects, known: Mapping[str, str | None] | None = None) -> None:
        """Name the objects; ``known`` is what was wrong with those that were read already, None where nothing was."""
        self._objects = objects
        self._read = known or {}
        self._known: dict[str, str | None] = {}
        self._snapshots: dict[tuple[str, tuple[str, ...]], tuple[tuple[Need, str], ...]] = {}

    def problem(self, sha256: str) -> str | None:
        """Return what is wrong with an object, None where it is whole."""
        if sha256 in self._read:
            return self._read[sha256]
        if sha256 not in self._known:
            self._known[sha256] = compared(self._objects.path(sha256), sha256)
        return self._known[sha256]

    def broken(self, run: RunDirectory) -> Iterator[tuple[Need, str]]:
        """Yield which of the objects that a run names are not whole, and why. FormatError where it is damaged."""
        spec, source = run.read(RunSpec), run.find(SourceFacts)
        key = spec.snapshot.manifest, () if source is None else source.not_stored
        if key not in self._snapshots:
            self._snapshots[key] = tuple(self._broken(snapshot_needs(*key, self._objects.read)))
        yield from self._snapshots[key]
        yield from self._broken(other_needs(run, spec, source))

    def _broken(self, named: Iterable[Need]) -> Iterator[tuple[Need, str]]:
        for need in named:
            problem = self.problem(need.sha256)
            if problem is not None and (need.kept or problem != "is missing"):
                yield need, problem


def object_digests(objects: Objects) -> list[str]:
    """Return the digests by which the objects of a store are named, sorted."""
    directories = sorted(objects.root.glob("[0-9a-f][0-9a-f]"))
    return [directory.name + name for directory in directories for name in sorted(os.listdir(directory))]  # noqa: PTH208


def object_name(sha256: str) -> str:
    """Return an object's file, relative to the store."""
    return f"objects/sha256/{sha256[:2]}/{sha256[2:]}"


def compared(path: Path | str, sha256: str) -> str | None:
    """Return what is wrong with a file that is to have a digest, None where it has it."""
    try:
        found = sha256_of_file(path)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if found == sha256 else f"was changed: its sha256 is {found[:12]}, not {sha256[:12]}"


def check_run(run: RunDirectory, store: Store, objects: ObjectCheck) -> tuple[Finding, ...]:
    """Return what of a run is not as it was sealed, and what cannot be checked. An ended run is sealed first."""
    check = _Check(run)
    try:
        if not run.record.exists() and not look(run).ended:
            check.note("", "goes on: nothing of it is sealed yet")
            return tuple(check.findings)
        if not run.record.exists():
            finish(run, store)
    except MlrunError as error:
        check.wrong("", error.message)
        return tuple(check.findings)
    record = check.record()
    check.files(record)
    check.objects(objects)
    return tuple(check.findings)


def is_as_sealed(run: RunDirectory) -> bool:
    """Whether a sealed run's record and every file of its directory can be checked, and is what it was."""
    check = _Check(run)
    check.files(check.record())
    return not check.findings


@dataclass(frozen=True)
class _Sealed:
    """What a sealed record says of the other files; it was checked against its schema when it was sealed."""

    run: str
    contents: str  # "": the record is older than the list
    logs: Mapping[str, str]
    outputs: frozenset[str]
    links: Mapping[str, str]  # outputs that are symlinks, and the digests of their texts

    @classmethod
    def of(cls, record: Any) -> _Sealed:
        """Take it out of a record; KeyError or TypeError where it is none."""
        logs = {log["path"]: log["digest"]["sha256"] for log in record["logs"].values()}
        outputs = frozenset(each["digest"]["sha256"] for each in record["outputs"] if each["digest"] is not None)
        links = {each["path"]: each["digest"]["sha256"] for each in record["outputs"] if _is_link(each)}
        contents_ = record.get("contents")
        return cls(record["run"]["id"], "" if contents_ is None else contents_["sha256"], logs, outputs, links)


def _is_link(output: Any) -> bool:
    return output["digest"] is not None and stat.S_ISLNK(output["mode"])


class _Check:
    """One run's findings, as they come."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self.findings: list[Finding] = []

    def wrong(self, name: str, problem: str) -> None:
        """Name a file of the run directory, and what is wrong with it."""
        self.findings.append(Finding(f"runs/{self._run.id}/{name}".rstrip("/"), problem, self._run.id))

    def note(self, name: str, problem: str) -> None:
        """Name a file, and why it cannot be checked."""
        self.findings.append(Finding(f"runs/{self._run.id}/{name}".rstrip("/"), problem, self._run.id, wrong=False))

    def record(self) -> _Sealed | None:
        """Check the record and its seal; return what the rest is checked by, None where that cannot be read."""
        run, reason = self._run, check_seal(self._run)
        if reason is not None:
            self.wrong(run.record.name, f"was changed, or its seal was: {reason}")
        try:
            sealed = _Sealed.of(read_json(run.record))
        except (MlrunError, OSError, KeyError, TypeError) as error:
            if reason is None:
                self.wrong(run.record.name, f"is no record: {error}")
            return None
        if sealed.run != run.id:
            self.wrong(run.record.name, f"is the record of the run {sealed.run}")
        return sealed

    def files(self, record: _Sealed | None) -> None:
        """Check the list of files against the record, and the files against the list."""
        run = self._run
        if record is not None and record.contents == "":
            self.note("", "was sealed by an mlrun that listed no files: of them only the logs are checked")
            self._compare(record.logs)
            return
        try:
            data = run.contents.read_bytes()
            if record is not None and sha256_of(data) != record.contents:
                self.wrong(run.contents.name, "was changed: the record holds another digest of it")
            listed = contents.parse(data)
        except FileNotFoundError:
            self.wrong(run.contents.name, "is missing")
        except FormatError as error:
            self.wrong(run.contents.name, error.message)
        else:
            self._compare(listed)
            for name, is_link in contents.entries(run):
                if is_link and name in listed:
                    self.wrong(name, "was replaced by a symlink")
                elif name not in listed:
                    self._unlisted(name, is_link, record)

    def _unlisted(self, name: str, is_link: bool, record: _Sealed | None) -> None:
        """Check a link, which no list names, or an artifact that was fetched later: the record has its digest."""
        place = self._run.path / name
        sha256 = sha256_of(os.fsencode(place.readlink())) if is_link else sha256_of_file(place)
        if record is not None and record.links.get(name, sha256) != sha256:
            self.wrong(name, "was changed: the symlink leads elsewhere")
        elif record is None or sha256 not in record.outputs:
            self.wrong(name, "was added after the run was sealed")

    def _compare(self, listed: Mapping[str, str]) -> None:
        left_out, directory = self._left_out(), str(self._run.path)
        for name, sha256 in listed.items():
            problem = compared(f"{directory}/{name}", sha256)
            if problem is not None and name in left_out and not (self._run.path / name).exists():
                self.note(name, "was left out when the run was shared")
            elif problem is not None:
                self.wrong(name, problem)

    def _left_out(self) -> tuple[str, ...]:
        try:
            origin = origin_of(self._run)
        except FormatError as error:
            self.wrong(self._run.imported.name, error.message)
            return ()
        return () if origin is None else origin.without

    def objects(self, check: ObjectCheck) -> None:
        """Check the objects that the run names, and the outputs that are kept in its directory alone."""
        said = set[str]()
        try:
            for need, problem in check.broken(self._run):
                if need.sha256 not in said:
                    said.add(need.sha256)
                    self.findings.append(Finding(object_name(need.sha256), f"({need.what}) {problem}", self._run.id))
            self._kept_here()
        except MlrunError as error:
            if not self.findings:
                self.wrong("", error.message)

    def _kept_here(self) -> None:
        """Check outputs that lie in the run's own fresh directory and nowhere else."""
        if not self._run.work.exists():  # the usual case: it went when the run had succeeded
            return
        files, spec = self._run.read_files(self._run.outputs), self._run.read(RunSpec)
        for fact in () if files is None else files.files:
            place = self._run.work / spec.snapshot.subdirectory / fact.path
            if not fact.stored and fact.sha256 is not None and place.is_file():
                problem = compared(place, fact.sha256)
                if problem is not None:
                    self.wrong(place.relative_to(self._run.path).as_posix(), f"(the output {fact.path}) {problem}")
