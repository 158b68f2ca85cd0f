"""Verify runs, or the whole store: what was changed is named, whoever changed it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field
from pathlib import Path

from runner.errors import MlrunError, UsageError
from runner.records import signing
from runner.records.verify import Finding, ObjectCheck, check_run
from runner.store.index_check import check_index
from runner.store.store import Store
from runner.worker.rundir import RunDirectory
from runner.worker.values import dataclass


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
    progress: Callable[[int], None] = lambda _: None,
) -> Verified:
    """Check runs, and what the index says of them; with ``everything`` also the objects that none of them names.

    With ``allowed``, an allowed-signers file, each run has to be signed by somebody in it. ``progress`` hears how many
    runs are done.
    """
    if allowed is not None and not allowed.is_file():
        message = f"there is no file {allowed}"
        raise UsageError(
            message, hint="an allowed-signers file has a line `ada@example.org ssh-ed25519 AAAA...` for each key"
        )
    signers: dict[str, tuple[str, ...]] = {}
    objects = ObjectCheck(store.objects)
    done: list[str] = []
    findings: list[Finding] = []
    for run in runs:
        findings += check_run(run, store, objects)
        if run.seal.exists() and (allowed is not None or run.signatures.exists()):
            signers[run.id] = _check_signatures(run, allowed, findings)
        done.append(run.id)
        progress(len(done))
    if everything:
        findings += objects.others()
    sealed = [identity for identity in done if store.directory(identity).seal.exists()]
    index = store.root / "index.sqlite"
    findings += [Finding(index.name, problem) for problem in check_index(index, store.root / "runs", sealed)]
    return Verified(tuple(done), tuple(findings), signers)


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
        findings.append(Finding(f"{here}/{run.record.name}", f"is signed by nobody whom {allowed.name} names", run.id))
    return signers
