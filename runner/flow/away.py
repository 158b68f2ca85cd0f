"""Runs that another machine carries out: where each is, what its machine says of it, and its results brought here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress

from runner.backends import registry
from runner.backends.backend import Backend, Sink, Ticket
from runner.backends.warm import dismiss
from runner.errors import FormatError, IntegrityError, MlrunError
from runner.worker.clock import now, seconds, stamp
from runner.worker.codec import decode, encode
from runner.worker.files import pretty, read_json
from runner.worker.files import replace as rewrite
from runner.worker.objects import Objects
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.state import UNREACHABLE, State
from runner.worker.values import dataclass

_HERE = "local"
_FRESH = 60.0  # seconds


@dataclass(frozen=True)
class Seen:
    """seen.json: what a run's machine last said of it; written anew at each look, and of no use once it has ended."""

    state: str
    at: str
    version: int = 1


def ticket_of(run: RunDirectory) -> Ticket | None:
    """Return the ticket of a run that a backend other than `local` carries out; None for one of this machine.

    A run that came from another store has the ticket of somebody else, on whose machines we have no business.
    """
    if run.imported.exists():
        return None
    try:
        ticket = Ticket.from_json(read_json(run.ticket))
    except FileNotFoundError:
        return None
    return None if ticket.backend == _HERE else ticket


def is_away(run: RunDirectory) -> bool:
    """Whether what a run does is to be asked elsewhere: it has not ended as far as is known here."""
    with suppress(FormatError):
        return not run.has(Outcome) and ticket_of(run) is not None
    return False


def reach(ticket: Ticket, run: RunDirectory) -> Backend:
    """Return the backend of a ticket, which knows where the run's directory is here."""
    backend = registry.get(ticket.backend)
    attach(backend, ticket, run)
    return backend


def attach(backend: Backend, ticket: Ticket, run: RunDirectory) -> None:
    """Tell a backend where a run's directory is here, if it wants to know."""
    known = getattr(backend, "attach", None)
    if known is not None:
        known(ticket, run)


def ask(runs: Iterable[RunDirectory], *, bring: bool) -> dict[str, State]:
    """Return what the machines of runs say of them, each asked once.

    The results of those that have ended are brought here, or with ``bring`` false only where that is quick.
    """
    grouped: dict[str, list[tuple[RunDirectory, Ticket]]] = {}
    for run in runs:
        with suppress(FormatError):
            ticket = ticket_of(run)
            if ticket is not None:
                grouped.setdefault(ticket.backend, []).append((run, ticket))
    states: dict[str, State] = {}
    for name, pairs in grouped.items():
        states |= _ask(name, pairs, bring=bring)
    return states


def _ask(name: str, pairs: Sequence[tuple[RunDirectory, Ticket]], *, bring: bool) -> dict[str, State]:
    try:
        backend = registry.get(name)
    except MlrunError as error:  # the package that brings it was removed
        return {run.id: _unreachable(run, error.message) for run, _ in pairs}
    for run, ticket in pairs:
        attach(backend, ticket, run)
    try:
        states = dict(backend.look([ticket for _, ticket in pairs]))
    except Exception as error:  # noqa: BLE001 - other people's code, which may not take the list away from the others
        reason = error.message if isinstance(error, MlrunError) else f"{type(error).__name__}: {error}"
        return {run.id: _unreachable(run, f"the backend {name!r} does not answer: {reason}") for run, _ in pairs}
    for run, ticket in pairs:
        state = states.get(run.id, State(UNREACHABLE))
        if state.ended and not run.has(Outcome):
            _bring(backend, ticket, run, bring=bring)
        states[run.id] = _remembered(run, state)
    dismiss(backend)
    return states


def _bring(backend: Backend, ticket: Ticket, run: RunDirectory, *, bring: bool) -> None:
    if bring:
        backend.collect(ticket, run)
        return
    quickly = getattr(backend, "collect_quickly", None)
    if quickly is not None:
        with suppress(MlrunError):  # who asks for the run itself hears of it
            quickly(ticket, run)


def _remembered(run: RunDirectory, state: State) -> State:
    if state.name == UNREACHABLE:
        return _unreachable(run, state.remark)
    if not state.ended and state.arrived and not _is_news_of_old(run, state):
        with suppress(MlrunError):
            rewrite(run.seen, pretty(encode(Seen(state.name, now()))))
    return state


def _is_news_of_old(run: RunDirectory, state: State) -> bool:
    """Whether the same was seen within the last minute: for hundreds of runs in a queue, notes cost more than looks."""
    with suppress(OSError, MlrunError, json.JSONDecodeError):
        seen = decode(Seen, read_json(run.seen), str(run.seen))
        return seen.state == state.name and 0 <= seconds(now()) - seconds(seen.at) < _FRESH
    return False


def _unreachable(run: RunDirectory, reason: str) -> State:
    with suppress(OSError, MlrunError, json.JSONDecodeError):
        seen = decode(Seen, read_json(run.seen), str(run.seen))
        return State(UNREACHABLE, remark=f"{reason}; it was {seen.state} at {seen.at}")
    came = max((path.stat().st_mtime for path in (run.stdout, run.stderr) if path.exists()), default=None)
    since = "it was not seen since it was launched" if came is None else f"its output was followed until {stamp(came)}"
    return State(UNREACHABLE, remark=f"{reason}; {since}")


def peek(run: RunDirectory, sink: Sink) -> bool:
    """Pass on what a run that goes on elsewhere has printed until now; False where it is not elsewhere."""
    ticket = ticket_of(run) if is_away(run) else None
    backend = None if ticket is None else reach(ticket, run)
    look = getattr(backend, "peek", None)
    if look is None:
        return False
    look(ticket, run, sink)
    return True


def fetch(run: RunDirectory) -> int:
    """Bring all results of an ended run here, also those that were to stay; return the bytes that came.

    MlrunError where the run is on this machine, or has not ended; IntegrityError where its machine lacks some of them.
    """
    ticket = ticket_of(run)
    backend = None if ticket is None else reach(ticket, run)
    bring = getattr(backend, "bring", None)
    if ticket is None or bring is None:
        where = "came from another store" if run.imported.exists() else "was carried out on this machine"
        message = f"the run {run.id} {where}: all it has is here"
        raise MlrunError(message, hint=f"`mlrun artifacts {run.id}` lists its outputs")
    size: int = bring(ticket, run)
    gone = _gone(run)
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        message = f"the machine that carried the run {run.id} out does not have its output {gone[0]!r}{more} any more"
        raise IntegrityError(message, hint=f"it was removed there; `mlrun rerun {run.id}` makes it again")
    return size


def _gone(run: RunDirectory) -> tuple[str, ...]:
    """Return the outputs that were kept, and are not here although all was brought that was to be had."""
    outputs, objects = run.read_files(run.outputs), Objects(run.path.parents[1] / "objects")
    return tuple(
        fact.path
        for fact in (() if outputs is None else outputs.files)
        if fact.stored and fact.sha256 is not None
        if not (objects.has(fact.sha256) or (run.path / fact.path).is_file())
    )


def discard(run: RunDirectory) -> str:
    """Remove what an ended run left on another machine; return why it could not be, "" where all is well."""
    try:
        ticket = ticket_of(run)
        remove = None if ticket is None else getattr(reach(ticket, run), "discard", None)
        if remove is not None:
            remove(ticket)
    except MlrunError as error:
        return error.message
    return ""
