"""Verify runs, or the whole store: what was changed is named, whoever changed it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field

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
    store: Store, runs: Iterable[RunDirectory], *, everything: bool, progress: Callable[[int], None] = lambda _: None
) -> Verified:
    """Check runs, and what the index says of them; with ``everything`` also the objects that none of them names.

    ``progress`` hears how many runs are done.
    """
    objects = ObjectCheck(store.objects)
    done: list[str] = []
    findings: list[Finding] = []
    for run in runs:
        findings += check_run(run, store, objects)
        done.append(run.id)
        progress(len(done))
    if everything:
        findings += objects.others()
    sealed = [identity for identity in done if store.directory(identity).seal.exists()]
    index = store.root / "index.sqlite"
    findings += [Finding(index.name, problem) for problem in check_index(index, store.root / "runs", sealed)]
    return Verified(tuple(done), tuple(findings))
