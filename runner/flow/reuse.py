"""Whether a past run has come to what a planned one would: the same spec and inputs, outputs that are still whole.

On any doubt a run is executed: it takes time, and a result that is not the command's would take trust.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.errors import MlrunError
from runner.flow.outputs import bring_back, is_whole
from runner.flow.prepare import Prepared
from runner.records.verify import is_as_sealed
from runner.store.store import Store
from runner.worker.environment.interpreters import discovery
from runner.worker.environment.interpreters.identity import Interpreters, same
from runner.worker.execution.artifacts import LOGGED
from runner.worker.execution.digests import Digests
from runner.worker.execution.inputs import digest_of, hash_declared, state_of
from runner.worker.execution.opened import inputs_of
from runner.worker.execution.scan import scan
from runner.worker.execution.workplace import Workplace
from runner.worker.facts import InstalledEnvironment, Request
from runner.worker.globs import matches
from runner.worker.manifest import decode_manifest, inside
from runner.worker.results import REUSED, FileFact, Files, Outcome
from runner.worker.rundir import RunDirectory


def find_reusable(prepared: Prepared, store: Store) -> RunDirectory | None:
    """Return the newest run whose results a planned one may take over; None where it has to be executed.

    It succeeded, with the same spec, in the same kind of directory, on inputs with the same bytes (the declared ones,
    `path` parameters, and whatever else it opened or saw lying there, where nothing has come since); nothing about it
    is ambiguous, and all that it wrote, and what was sealed of it, is still there and whole.
    """
    if prepared.spec.secrets:  # their values are nowhere kept, and so cannot be compared
        return None
    digests = Digests(store.cache)
    now = _Now(prepared, store, digests)
    try:
        return next((past for past in _candidates(prepared, store) if now.is_answered_by(past)), None)
    finally:
        digests.save()


def put_in_place(past: RunDirectory, prepared: Prepared, store: Store) -> bool:
    """Write a past run's outputs to where an in-place run would have left them; False where that cannot be done."""
    if prepared.launch.root is None:
        return True
    try:
        for item in written_by(past):
            bring_back(item, store, past, prepared.project / item.path)
    except (OSError, MlrunError):  # a directory stands there, or the disk is full: the command will say so better
        return False
    return True


def written_by(past: RunDirectory) -> list[FileFact]:
    """Return the files that a run wrote in its directory."""
    files = past.read_files(past.outputs)
    return [] if files is None else [item for item in files.files if item.basis != LOGGED]


def _candidates(prepared: Prepared, store: Store) -> Iterator[RunDirectory]:
    """Yield finished runs of the same spec, the newest first: those that were executed, then those that took over."""
    again = []
    for identity in store.index.ids_with_spec(prepared.spec.digest):
        past = store.directory(identity)
        try:
            outcome, request = past.read(Outcome), past.read(Request)
        except MlrunError:  # it goes on, or is damaged
            continue
        if outcome.status != "succeeded" or request.mode != prepared.launch.mode:
            continue
        if outcome.reason == REUSED:  # of use where the run that it names is gone
            again.append(past)
        elif not store.index.children_of(identity):  # what ran inside has inputs of its own: steps go one by one
            yield past
    yield from again


class _Now:
    """Things as they are now, looked at once however many runs are compared."""

    def __init__(self, prepared: Prepared, store: Store, digests: Digests) -> None:
        """Look at nothing yet."""
        self._prepared = prepared
        self._spec = prepared.spec
        self._store = store
        self._digests = digests
        self._project = Path(os.path.realpath(prepared.project))
        self._named: Mapping[str, str | None] | None = None

    def is_answered_by(self, past: RunDirectory) -> bool:
        """Whether a past run has come to what the planned one would."""
        try:
            inputs, outputs = inputs_of(past), past.read_files(past.outputs)
            if inputs is None or outputs is None or _is_doubtful(inputs) or _is_doubtful(outputs):
                return False
            return (
                not any(gap.field in ("outputs", "metrics") for gap in outputs.gaps)
                and self._has(inputs)
                and not self._is_more_there(inputs, outputs)
                and self._has_interpreter_of(past)
                and all(_is_plain(item) and is_whole(item, self._store, past) for item in written_by(past))
                and is_as_sealed(past)
            )
        except (MlrunError, OSError):  # removed, damaged, or an input that is not there: it has to be executed
            return False

    def _has(self, files: Files) -> bool:
        """Whether all that a past run read, or may have read, has the same bytes now."""
        for each in self._spec.inputs:
            mine = [fact for fact in files.files if fact.name == each.name]
            if not mine or digest_of(each, mine) != self._digest(each.name):
                return False
        named = {each.name for each in self._spec.inputs}
        return all(self._is_same(fact) for fact in files.files if fact.name not in named)

    def _digest(self, name: str) -> str | None:
        if self._named is None:
            places = self._prepared.launch.inputs
            workplace = Workplace(self._project, self._project, fresh=False, entries=(), places=places)
            facts = [sight.fact for sight in hash_declared(self._spec.inputs, workplace, self._digests, _silent)]
            self._named = {each.name: digest_of(each, facts) for each in self._spec.inputs}
        return self._named.get(name)

    def _is_same(self, fact: FileFact) -> bool:
        place = self._project / fact.path
        status = state_of(str(place), place.lstat())
        return fact.sha256 is not None and self._digests.of(str(place), status) == fact.sha256

    def _is_more_there(self, inputs: Files, outputs: Files) -> bool:
        """Whether files lie there now that the past run did not see: a glob, or a look for one, may find them.

        What another entry point is declared to write does not count: who reads it declares it.
        """
        if self._prepared.launch.root is None:
            return False
        skip = {os.path.realpath(path) for path in (self._store.root, self._store.cache)}
        known = {fact.path for fact in (*inputs.files, *outputs.files)} | self._source()
        products = [path for path in self._prepared.products if path not in self._spec.written]
        declared = tuple(fact.path.rstrip("/") + "/" for fact in inputs.files if fact.name is not None)
        return any(
            path not in known
            and not path.startswith(declared)
            and not any(matches(product, path) for product in products)
            for path in scan(str(self._project), skip).files
        )

    def _source(self) -> set[str]:
        snapshot = self._spec.snapshot
        return set(inside(decode_manifest(self._store.objects.read(snapshot.manifest)), snapshot.subdirectory))

    def _has_interpreter_of(self, past: RunDirectory) -> bool:
        """Whether the host's own Python is the one that a run had which used it as it was."""
        then = past.find(InstalledEnvironment)
        if then is None or then.kind != "host":
            return True
        found = discovery.host(Interpreters(self._store.cache, os.environ), os.environ)
        if found is None or then.interpreter is None:
            return found is None and then.interpreter is None
        return same(found[1], then.interpreter)


def _is_doubtful(files: Files) -> bool:
    return bool(files.ambiguous) or any(fact.changed for fact in files.files)


def _is_plain(item: FileFact) -> bool:
    """Whether an output is a file that lies where it should: what it is behind a link, or outside, is not known."""
    if item.place is not None:
        return False
    return not stat.S_ISLNK(item.mode) and not item.path.startswith("/") and ".." not in item.path.split("/")


def _silent(text: str) -> None:
    del text
