"""Follow runs to their end, end them, and see to it that every ended run has its sealed record."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from runner.backends import registry
from runner.backends.backend import Backend, Sink, Ticket
from runner.errors import FormatError
from runner.records.finish import finish
from runner.store import settings
from runner.store.store import Store
from runner.worker.facts import Request
from runner.worker.files import Json, read_json
from runner.worker.rundir import RunDirectory
from runner.worker.state import State, look
from runner.worker.values import dataclass


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
    """As ``wait``, with the backend that launched the run."""
    code = backend.follow(ticket, sink)
    backend.collect(ticket, run)
    record = finish(run, store)
    return Ended(run, code, record, _signed(run))


def cancel(run: RunDirectory, signal: str = "TERM") -> None:
    """Ask for a run's end: INT as Ctrl-C does, TERM, or KILL at once. An ended run stays as it is."""
    backend, ticket = reach(run)
    backend.cancel(ticket, signal)


def refresh(store: Store, runs: Iterable[RunDirectory] | None = None) -> dict[str, State]:
    """Look at the runs that have no record yet, and seal the records of those that have ended."""
    states = {}
    for run in store.open_runs() if runs is None else runs:
        with suppress(FormatError):  # a damaged run is listed as such, and hides no other
            states[run.id] = state = look(run)
            if state.ended and not run.record.exists():
                finish(run, store)
                _signed(run)
    store.index.note({identity: state.name for identity, state in states.items() if not state.ended})
    return states


def _signed(run: RunDirectory) -> str:
    """Sign a run that was just sealed, where the user's settings ask for it; return why it could not be signed."""
    if not settings.path().exists():
        return ""
    from runner.flow.sign import sign_if_configured  # few have settings, and a warm run imports little

    return sign_if_configured(run)


def reach(run: RunDirectory) -> tuple[Backend, Ticket]:
    """Return the backend that has a run, and the ticket that finds it there."""
    name = run.read(Request).backend
    if run.ticket.exists():
        return registry.get(name), Ticket.from_json(read_json(run.ticket))
    return registry.get(name), Ticket(run=run.id, backend=name, directory=str(run.path))
