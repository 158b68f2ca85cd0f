"""What a machine is asked of a run, and what its answer says of it: one that never comes there is ended here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.backends.backend import Ticket
from runner.backends.host import Host
from runner.worker.clock import now
from runner.worker.codec import decode
from runner.worker.facts import Cancellation, Request
from runner.worker.processes import is_alive, myself
from runner.worker.results import Failure, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.state import LOST, SUBMITTED, UNREACHABLE, State, conclude, killed


def question(ticket: Ticket, host: Host, run: RunDirectory | None) -> list[object]:
    """Return what is asked of a run: its id, whether nobody brings it any more, and whether it was seen there."""
    return [ticket.run, _is_given_up(ticket, host, run), _was_seen(run)]


def state_of(ticket: Ticket, run: RunDirectory | None, said: Mapping[str, Any]) -> State:
    """Return what a machine said of a run; one that it does not know, and never will, is lost."""
    host = ticket.data["host"]
    if said["state"] is not None:
        outcome = None if said["outcome"] is None else decode(Outcome, said["outcome"], f"what {host} says")
        return State(said["state"], outcome, said.get("remark", ""), said.get("started"))
    if not said["gone"]:
        if not _was_seen(run):
            return State(SUBMITTED, remark=f"it is on its way to {host}", arrived=False)
        return State(UNREACHABLE, remark=f"{host} does not have the run in {said['home']}: is it another machine?")
    message = f"{host} does not have the run: mlrun was killed before it came there, or it was removed there"
    outcome = Outcome(LOST, now(), error=Failure(message, "run it again"))
    if run is None:
        return State(LOST, outcome)
    asked = run.find(Cancellation)
    return conclude(run, outcome if asked is None else killed(asked))


def is_ours(run: RunDirectory) -> bool:
    """Whether this process has made a run, and may be bringing it to its machine."""
    request = run.find(Request)
    return request is not None and request.submitter == myself()


def _is_given_up(ticket: Ticket, host: Host, run: RunDirectory | None) -> bool:
    """Whether nobody brings a run to its machine any more: who was to do so is dead."""
    request = None if run is None or host.address != ticket.data["address"] else run.find(Request)
    return request is not None and request.submitter is not None and is_alive(request.submitter) is False


def _was_seen(run: RunDirectory | None) -> bool:
    return run is not None and run.seen.exists()
