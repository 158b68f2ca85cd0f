"""Follow runs to their end, end them, and see to it that every ended run has its sealed record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from runner.backends import registry
from runner.backends.backend import Backend, Sink, Ticket
from runner.errors import FormatError
from runner.flow import away
from runner.records.finish import finish
from runner.store import settings
from runner.store.store import Store
from runner.worker.facts import Request
from runner.worker.files import Json
from runner.worker.look import look
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.state import State
from runner.worker.values import dataclass

if TYPE_CHECKING:
    from runner.publishing.live import Live


@dataclass(frozen=True)
class Ended:
    """A run that has ended: its exit code as `mlrun run` gives it, and its record."""

    run: RunDirectory
    exit_code: int
    record: Json
    remark: str = ""  # what went wrong after its end, and is no matter of the run


def wait(run: RunDirectory, store: Store, sink: Sink) -> Ended:
    """Stream a run's output until it ends, bring its results here, and seal its record."""
    return see_off(*reach(run), run, store, sink)


def see_off(backend: Backend, ticket: Ticket, run: RunDirectory, store: Store, sink: Sink) -> Ended:
    """As ``wait``, with the backend that launched the run. A run for a team's server is forwarded there meanwhile."""
    live = _forwarded(run, store)
    try:
        code = backend.follow(ticket, sink)
        if not run.has(Outcome):
            backend.collect(ticket, run)
        record = finish(run, store)
    except BaseException:
        if live is not None:
            live.leave()
        raise
    remarks = (_signed(run), "" if live is None else live.finish(record))
    return Ended(run, code, record, "; ".join(filter(None, remarks)))


def _forwarded(run: RunDirectory, store: Store) -> Live | None:
    uri = run.read(Request).tracking_uri
    if uri is None:
        return None
    from runner.publishing.live import Live  # few have a server, and a warm run imports little

    return Live(run, uri, lambda identity: started_by(identity, store))


def started_by(identity: str, store: Store) -> Iterator[tuple[RunDirectory, Json]]:
    """Return the ended runs that a run's own command started, the oldest first, with their records."""
    from runner.store.expression import Comparison, Expression
    from runner.store.index import Filter

    inside = Expression("", Comparison("", "parent", "=", (identity,), 0))
    for summary in store.index.query(Filter(where=inside), reverse=True):
        run = store.directory(summary.id)
        if run.has(Outcome):
            yield run, finish(run, store)


def cancel(run: RunDirectory, signal: str = "TERM") -> None:
    """Ask for a run's end: INT as Ctrl-C does, TERM, or KILL at once. An ended run stays as it is."""
    backend, ticket = reach(run)
    if not run.has(Outcome):
        backend.cancel(ticket, signal)


def refresh(store: Store, runs: Iterable[RunDirectory] | None = None, *, bring: bool = False) -> dict[str, State]:
    """Look at the runs that have no record yet, and seal the records of those that have ended.

    Other machines are asked for theirs; what takes long to bring from there is brought where ``bring`` says so.
    """
    states, elsewhere = {}, []
    for run in store.open_runs() if runs is None else runs:
        with suppress(FormatError):  # a damaged run is listed as such, and hides no other
            if away.is_away(run):
                elsewhere.append(run)
                continue
            states[run.id] = look(run)
            _seal(run, store, states[run.id])
    if elsewhere:
        states |= away.ask(elsewhere, bring=bring)
        for run in elsewhere:
            with suppress(FormatError):
                _seal(run, store, states[run.id])
    store.index.note({identity: state.name for identity, state in states.items()})
    return states


def record_of(run: RunDirectory, store: Store, *, brief: bool = False) -> Json:
    """Return the record of a run, its results brought here first; of one that goes on, what is known now.

    ``brief`` leaves the values of metrics out of the record of a run that goes on.
    """
    return record_and_state(run, store, brief=brief)[0]


def record_and_state(run: RunDirectory, store: Store, *, brief: bool = False) -> tuple[Json, State | None]:
    """As ``record_of``, with what the machine that has the run says of it, if it is elsewhere and goes on."""
    if run.record.exists() or not away.is_away(run):
        return finish(run, store, brief=brief), None
    state = refresh(store, [run], bring=True)[run.id]
    goes_on = None if run.has(Outcome) else state
    return finish(run, store, goes_on, brief=brief), goes_on


def reach(run: RunDirectory) -> tuple[Backend, Ticket]:
    """Return the backend that has a run, and the ticket that finds it there; an ended run is all here."""
    ticket = None if run.has(Outcome) else away.ticket_of(run)
    if ticket is not None:
        return away.reach(ticket, run), ticket
    return registry.get("local"), Ticket(run=run.id, backend="local", directory=str(run.path))


def _seal(run: RunDirectory, store: Store, state: State) -> None:
    if state.ended and run.has(Outcome) and not run.record.exists():
        finish(run, store)
        _signed(run)


def _signed(run: RunDirectory) -> str:
    """Sign a run that was just sealed, where the user's settings ask for it; return why it could not be signed."""
    if not settings.path().exists() or not run.record.exists():
        return ""
    from runner.flow.sign import sign_if_configured  # few have settings, and a warm run imports little

    return sign_if_configured(run)
