"""See to it that a run that has ended has its sealed record, and the index knows it."""

from __future__ import annotations

from dataclasses import replace

from runner.errors import FormatError
from runner.records.basics import Digest
from runner.records.compose import compose
from runner.records.contents import seal_contents
from runner.records.seal import read, seal, seal_as_it_is
from runner.store.store import Store
from runner.store.summary import read as summarise
from runner.store.summary import row_of_record
from runner.worker.codec import encode
from runner.worker.files import Json
from runner.worker.rundir import RunDirectory
from runner.worker.state import State, look


def finish(run: RunDirectory, store: Store, state: State | None = None, *, brief: bool = False) -> Json:
    """Return the record of a run, composed and sealed if it has ended and nobody has done so yet.

    Of a run that goes on, the record as it is now, not sealed; with ``brief`` without the values of metrics. It can be
    done again, and by several at once: the first record stands. ``state`` is what another machine says of the run.
    FormatError where the run's files are damaged, IntegrityError where its record was changed.
    """
    if run.record.exists():
        seal_as_it_is(run)
        return read(run)
    try:
        state = state or look(run)
        record = compose(run, store, state, brief=brief and not state.ended)
    except FormatError:
        store.index.put(summarise(run))  # it is listed as damaged from now on, and not looked at again
        raise
    if not state.ended:
        return encode(record)
    seal(run, replace(record, contents=Digest(seal_contents(run))))
    sealed = read(run)  # another process's may have been the first
    store.index.put(row_of_record(sealed))
    return sealed
