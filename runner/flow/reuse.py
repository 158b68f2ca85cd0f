"""Whether a past run has come to what a planned one would: the same spec and inputs, outputs that are still whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from runner.backends.reused import REASON
from runner.errors import MlrunError
from runner.flow.outputs import bring_back, is_whole
from runner.flow.prepare import Prepared
from runner.store.store import Store
from runner.worker.execution.artifacts import LOGGED
from runner.worker.execution.digests import Digests
from runner.worker.execution.inputs import digest_of, hash_declared
from runner.worker.execution.opened import inputs_of
from runner.worker.execution.workplace import Workplace
from runner.worker.facts import Request
from runner.worker.results import FileFact, Outcome
from runner.worker.rundir import RunDirectory


def find_reusable(prepared: Prepared, store: Store) -> RunDirectory | None:
    """Return the newest run whose results a planned one may take over; None where it has to be executed.

    A run may be reused where it succeeded, ran the same spec on inputs with the same bytes (the declared ones, `path`
    parameters, and whatever else it opened or saw lying there), and all that it wrote is still there and whole.
    """
    digests = Digests(store.cache)
    project = Path(os.path.realpath(prepared.project))
    now = _Now(prepared, project, digests)
    found = None
    for identity in store.index.ids_with_spec(prepared.spec.digest):
        past = store.directory(identity)
        try:
            if _succeeded(past) and now.has_inputs_of(past) and _has_outputs(past, store):
                found = past
                break
        except (MlrunError, OSError):  # removed, damaged, or an input that is not there: it has to be executed
            continue
    digests.save()
    return found


def put_in_place(past: RunDirectory, prepared: Prepared, store: Store) -> None:
    """Write a past run's outputs to where an in-place run would have left them; what is the same already stays."""
    if prepared.launch.root is not None:
        for item in _files(past):
            if not item.path.startswith("/"):
                bring_back(item, store, past, prepared.project / item.path)


class _Now:
    """The inputs as they are now, hashed once however many runs are compared."""

    def __init__(self, prepared: Prepared, project: Path, digests: Digests) -> None:
        """Look at nothing yet."""
        self._spec = prepared.spec
        self._project = project
        self._digests = digests
        self._places = prepared.launch.inputs
        self._named: Mapping[str, str | None] | None = None

    def has_inputs_of(self, past: RunDirectory) -> bool:
        """Whether all that a past run read, or may have read, has the same bytes now."""
        files = inputs_of(past)
        if files is None:
            return False
        for each in self._spec.inputs:
            mine = [fact for fact in files.files if fact.name == each.name]
            if not mine or digest_of(each, mine) != self._digest(each.name):
                return False
        named = {each.name for each in self._spec.inputs}
        return all(self._is_same(fact) for fact in files.files if fact.name not in named)

    def _digest(self, name: str) -> str | None:
        if self._named is None:
            workplace = Workplace(self._project, self._project, fresh=False, entries=(), places=self._places)
            facts = [sight.fact for sight in hash_declared(self._spec.inputs, workplace, self._digests, _silent)]
            self._named = {each.name: digest_of(each, facts) for each in self._spec.inputs}
        return self._named[name]

    def _is_same(self, fact: FileFact) -> bool:
        place = os.path.join(self._project, fact.path)  # noqa: PTH118 - an absolute path stays what it is
        status = os.lstat(place)
        return fact.sha256 is not None and self._digests.of(place, status) == fact.sha256


def _succeeded(past: RunDirectory) -> bool:
    outcome = past.read(Outcome)
    return outcome.status == "succeeded" and outcome.reason != REASON and past.read(Request).reused is None


def _has_outputs(past: RunDirectory, store: Store) -> bool:
    return past.read_files(past.outputs) is not None and all(is_whole(item, store, past) for item in _files(past))


def _files(past: RunDirectory) -> Iterable[FileFact]:
    files = past.read_files(past.outputs)
    return () if files is None else (item for item in files.files if item.basis != LOGGED)


def _silent(text: str) -> None:
    del text
