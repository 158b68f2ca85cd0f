"""See to it that a run that has ended has its sealed record, and the index knows it."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from runner.errors import FormatError, StoreError
from runner.records.basics import Digest
from runner.records.compose import compose
from runner.records.contents import seal_contents
from runner.records.seal import read, seal, seal_as_it_is
from runner.store.locks import settling
from runner.store.store import Store
from runner.store.summary import read as summarise
from runner.store.summary import row_of_record
from runner.worker.codec import encode
from runner.worker.files import Json
from runner.worker.look import look
from runner.worker.rundir import RunDirectory
from runner.worker.state import LOST, State


def finish(run: RunDirectory, store: Store, state: State | None = None, *, brief: bool = False) -> Json:
    """Return the record of a run, composed and sealed if it has ended and nobody has done so yet.

    Of a run that goes on, the record as it is now, not sealed; with ``brief`` without the values of metrics. Nor is it
    sealed where the disk is full. It can be done again, and by several at once: the first record stands. ``state`` is
    what another machine says of the run.
    FormatError where the run's files are damaged, IntegrityError where its record was changed.
    """
    if run.record.exists():
        seal_as_it_is(run)
        return read(run)
    try:
        state = state or look(run)
        if not state.ended:
            return encode(compose(run, store, state, brief=brief))
        with settling(run.path):  # what another process is bringing belongs to it
            if not run.record.exists():
                unsealed = _seal(run, store, state)
                if unsealed is not None:
                    return unsealed
    except FormatError:
        store.index.put(summarise(run))  # it is listed as damaged from now on, and not looked at again
        raise
    sealed = read(run)  # another process's may have been the first
    store.index.put(row_of_record(sealed))
    return sealed


def _seal(run: RunDirectory, store: Store, state: State) -> Json | None:
    """Compose and seal the record; where it cannot be written, return it as it is, for whoever comes next to seal."""
    if state.name == LOST and not run.outputs.exists():
        _seal_artifacts(run, store)
    record = compose(run, store, state)
    try:
        seal(run, replace(record, contents=Digest(seal_contents(run))))
    except StoreError:
        if run.record.exists():
            raise
        return encode(record)
    return None


def _seal_artifacts(run: RunDirectory, store: Store) -> None:
    """Do for a run whose worker was killed what it had done at the end: its artifacts are outputs, by digest."""
    if not (run.artifacts.is_dir() or run.children.is_dir()):
        return
    from runner.worker.execution.artifacts import seal as seal_artifacts
    from runner.worker.facts import Gap
    from runner.worker.results import Files

    gap = Gap("outputs", "its worker was killed before it looked at what the run wrote: these are its artifacts alone")
    with contextlib.suppress(OSError, StoreError):  # no room in the store: the record says they are unknown
        run.write_files(run.outputs, seal_artifacts(run, Files(gaps=(gap,)), store.objects))
