"""Verify runs, or the whole store: what was changed is named, whoever changed it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from runner.errors import MlrunError, UsageError
from runner.flow.spread import spread
from runner.records import signing
from runner.records.verify import Finding, ObjectCheck, check_run, compared, object_digests, object_name
from runner.store.index_check import check_file, differences
from runner.store.store import Store
from runner.worker.rundir import RunDirectory
from runner.worker.values import dataclass

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Verified:
    """What was looked at, and what is wrong with it."""

    runs: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    signers: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by run

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.wrong for finding in self.findings)


def verify(
    store: Store,
    runs: Iterable[RunDirectory],
    *,
    everything: bool,
    allowed: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Verified:
    """Check runs, and what the index says of them; with ``everything`` also the objects that none of them names.

    With ``allowed``, an allowed-signers file, each run has to be signed by somebody in it. ``progress`` hears how
    many things are done, of how many, and what they are.
    """
    if allowed is not None and not allowed.is_file():
        message = f"there is no file {allowed}"
        raise UsageError(
            message, hint="an allowed-signers file has a line `ada@example.org ssh-ed25519 AAAA...` for each key"
        )
    place = _Place(store.root, store.cache)
    objects = _read_objects(place, store, progress) if everything else {}
    index = list(check_file(place.index, place.runs)) if place.index.exists() else None
    task = _Task(place, objects, allowed, index=index == [])
    ids = [run.id for run in runs]
    done, findings, signers = 0, list[Finding](), dict[str, tuple[str, ...]]()
    for part in spread(_check_runs, task, ids):
        findings += part.findings
        signers.update(part.signers)
        done += len(part.runs)
        progress(done, len(ids), "runs")
    named = {finding.file for finding in findings}
    findings += [
        Finding(object_name(sha256), problem)
        for sha256, problem in objects.items()
        if problem is not None and object_name(sha256) not in named
    ]
    findings += [Finding(place.index.name, problem) for problem in index or ()]
    return Verified(tuple(ids), tuple(sorted(findings, key=_is_of_index)), signers)


@dataclass(frozen=True)
class _Place:
    """Where a store lies: what a process needs to know of it."""

    root: Path
    cache: Path

    @property
    def store(self) -> Store:
        return Store(self.root, self.cache)

    @property
    def index(self) -> Path:
        return self.root / "index.sqlite"

    @property
    def runs(self) -> Path:
        return self.root / "runs"


@dataclass(frozen=True)
class _Task:
    """What is the same for all runs that are checked."""

    place: _Place
    objects: Mapping[str, str | None]  # that were read already, and what is wrong with them
    allowed: Path | None
    index: bool  # whether there is one that can be compared


def _read_objects(place: _Place, store: Store, progress: Progress) -> dict[str, str | None]:
    """Return the digests of all objects on disk, and what is wrong with each."""
    found: dict[str, str | None] = {}
    digests = object_digests(store.objects)
    for part in spread(_compare_objects, place, digests):
        found.update(part)
        progress(len(found), len(digests), "objects")
    return found


def _compare_objects(place: _Place, digests: Sequence[str]) -> list[tuple[str, str | None]]:
    objects = place.store.objects
    return [(sha256, compared(objects.path(sha256), sha256)) for sha256 in digests]


def _check_runs(task: _Task, ids: Sequence[str]) -> Verified:
    store = task.place.store
    objects = ObjectCheck(store.objects, task.objects)
    findings: list[Finding] = []
    signers: dict[str, tuple[str, ...]] = {}
    sealed = []
    for run in map(store.directory, ids):
        findings += check_run(run, store, objects)
        if not run.seal.exists():
            continue
        sealed.append(run.id)
        if task.allowed is not None or run.signatures.exists():
            signers[run.id] = _check_signatures(run, task.allowed, findings)
    if task.index:
        problems = differences(task.place.index, task.place.runs, sealed)
        findings += [Finding(task.place.index.name, problem) for problem in problems]
    return Verified(tuple(ids), tuple(findings), signers)


def _is_of_index(finding: Finding) -> bool:
    return finding.file == "index.sqlite"


def _check_signatures(run: RunDirectory, allowed: Path | None, findings: list[Finding]) -> tuple[str, ...]:
    """Return who signed a run; what is wrong with a signature, or that nobody did who may, goes to ``findings``."""
    here = f"runs/{run.id}"
    try:
        found = list(signing.check(run, allowed))
    except MlrunError as error:  # the record itself is not whole: said already
        findings.append(Finding(f"{here}/{run.signatures.name}", error.message, run.id))
        return ()
    for each in found:
        if each.problem:
            findings.append(Finding(f"{here}/{each.file}", each.problem, run.id))
        elif allowed is not None and each.signer is None:
            problem = f"is by the key {each.fingerprint}, which {allowed.name} does not name"
            findings.append(Finding(f"{here}/{each.file}", problem, run.id, wrong=False))
    signers = tuple(f"{each.signer} ({each.fingerprint})" for each in found if each.signer is not None)
    if allowed is not None and not signers:
        problem = f"is signed by nobody whom {allowed.name} names"
        findings.append(Finding(f"{here}/{run.record.name}", problem, run.id, unsigned=True))
    return signers
