"""The backend `ssh`: runs on another machine, which carries them out alone once it has them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.backends.backend import Launch, Sink, Ticket
from runner.backends.choice import host_of
from runner.backends.exit_codes import exit_code
from runner.backends.host import Host
from runner.backends.ssh import tickets
from runner.backends.ssh.bring import Bring
from runner.backends.ssh.cargo import Cargo
from runner.backends.ssh.connection import Connection
from runner.backends.ssh.deliver import Delivery
from runner.backends.ssh.follow import Follow
from runner.backends.ssh.refusals import Unreachable
from runner.errors import BackendError, UsageError
from runner.store.home import cache
from runner.worker.codec import decode
from runner.worker.facts import Outcome
from runner.worker.files import pretty, write_once
from runner.worker.remote.frames import Frame
from runner.worker.rundir import RunDirectory
from runner.worker.state import SUBMITTED, UNREACHABLE, State

if TYPE_CHECKING:
    from runner.store.store import Store

_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)  # seconds between tries to deliver a run over a link that is cut
_LOOKING = 8.0  # seconds a look may take: `mlrun list` waits for it
_HOSTS = 16  # looked at at a time


class SshBackend:
    """Runs on one other machine; tickets of others are served as well."""

    def __init__(self) -> None:
        """Know no machine yet."""
        self._host: Host | None = None
        self._connections: dict[str, Connection] = {}
        self._follows: dict[str, Follow] = {}
        self._listed: dict[str, Frame] = {}  # results that came with the end of a run
        self._local: dict[str, RunDirectory] = {}

    def configure(self, config: Mapping[str, Any]) -> None:
        """Take what `-c` or `--on` says: {"host": NAME}, or {"address": "user@machine", ...}."""
        self._host = host_of(config, "ssh")
        if self._host is not None and self._host.is_here:
            message = f"the host {self._host.name!r} has no address"
            raise UsageError(message, hint='name one: {"address": "user@machine"}, or {"host": "lab"}')

    def warm(self, *, foreground: bool) -> None:
        """Connect while the run is still planned."""
        del foreground  # standard input does not travel
        self._connection(self._named(), warm=True)

    def ready(self) -> None:
        """Wait until the machine answers; BackendError where it does not, and then there is no run."""
        self._connection(self._named()).ready()

    def dismiss(self) -> None:
        """End all connections."""
        while self._connections:
            self._connections.popitem()[1].close()

    def attach(self, ticket: Ticket, run: RunDirectory) -> None:
        """Know where a run's directory is here: its logs go there as they come."""
        self._local[ticket.run] = run

    def submit(self, run: RunDirectory, store: Store, launch: Launch) -> Ticket:
        """Bring a run to its machine and have it started there."""
        host = self._named()
        ticket = tickets.write(run.id, host, fetch=launch.fetch)
        write_once(run.ticket, pretty(ticket.to_json()))
        self.attach(ticket, run)
        self._deliver(Delivery(Cargo(run, store, launch, host), launch.say), host)
        return ticket

    def look(self, tickets_: Sequence[Ticket]) -> Mapping[str, State]:
        """Ask each machine once, all at a time; `unreachable` is a state of its own."""
        if not tickets_:
            return {}
        asked: dict[Host, list[Ticket]] = {}
        for ticket in tickets_:
            asked.setdefault(tickets.host_of(ticket), []).append(ticket)
        with ThreadPoolExecutor(min(len(asked), _HOSTS)) as pool:
            answers = pool.map(lambda pair: list(self._look(*pair)), asked.items())
            return {identity: state for answer in answers for identity, state in answer}

    def follow(self, ticket: Ticket, sink: Sink) -> int:
        """Pass on what a run says and prints, also across cuts of the link; the exit code."""
        follow = self._follows.setdefault(ticket.run, Follow(ticket, self._local.get(ticket.run)))
        ended = follow.until_ended(sink, lambda: self._connection(tickets.host_of(ticket)), self._drop)
        if follow.results is not None:
            self._listed[ticket.run] = follow.results
        if ended.outcome is None:
            message = f"the run {ticket.run} is {ended.name} on {ticket.data['host']}, and cannot be followed"
            raise BackendError(message, hint="`mlrun show` says what is known of it")
        return exit_code(ended.outcome)

    def cancel(self, ticket: Ticket, signal: str = "TERM") -> None:
        """Have the machine end a run."""
        host = tickets.host_of(ticket)
        with Connection(host, cache(), connect=_LOOKING) as connection:
            connection.ask("cancel", run=ticket.run, signal=signal)

    def collect(self, ticket: Ticket, run: RunDirectory) -> None:
        """Bring the results of an ended run here: outputs, artifacts, logs, metrics, checked by digest."""
        self.bring(ticket, run, outputs=tickets.fetches(ticket))

    def bring(self, ticket: Ticket, run: RunDirectory, *, outputs: bool = True) -> int:
        """As ``collect``, also what was to stay there; return the bytes that came besides the record's files."""
        from runner.worker.objects import Objects

        objects = Objects(run.path.parents[1] / "objects")
        host = tickets.host_of(ticket)
        for pause in (*_PAUSES, None):
            try:
                connection = self._connection(host)
                listed = self._listed.pop(ticket.run, None) or connection.ask("results", run=ticket.run)
                return Bring(listed, run, objects).finish(connection, outputs=outputs)
            except Unreachable:
                self._drop(host)
                if pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError

    def _deliver(self, delivery: Delivery, host: Host) -> str:
        for pause in (*_PAUSES, None):
            try:
                return delivery.over(self._connection(host))
            except Unreachable:
                self._drop(host)
                if pause is None and not delivery.may_have_started:
                    raise
                if pause is None:
                    return ""  # it may run: whoever follows it finds out
                time.sleep(pause)
        raise AssertionError

    def _look(self, host: Host, asked: Sequence[Ticket]) -> Iterator[tuple[str, State]]:
        runs = [[ticket.run, self._is_given_up(ticket)] for ticket in asked]
        try:
            with Connection(host, cache(), quietly=True, patience=_LOOKING, connect=_LOOKING) as connection:
                states = connection.ask("look", runs=runs).head["states"]
        except BackendError as error:
            yield from ((ticket.run, State(UNREACHABLE, remark=error.message)) for ticket in asked)
            return
        for said, (identity, given_up) in zip(states, runs, strict=True):
            yield str(identity), _state(said, lost=bool(given_up), host=host)

    def _is_given_up(self, ticket: Ticket) -> bool:
        """Whether nobody brings a run to its machine any more: who was to do so is dead."""
        from runner.worker.facts import Request
        from runner.worker.processes import is_alive

        run = self._local.get(ticket.run)
        request = None if run is None else run.find(Request)
        return request is not None and request.submitter is not None and is_alive(request.submitter) is False

    def _named(self) -> Host:
        if self._host is None:
            message = "the backend 'ssh' needs a machine"
            raise UsageError(message, hint="""`--on user@machine`, or -c '{"host": "lab"}'""")
        return self._host

    def _connection(self, host: Host, *, warm: bool = False) -> Connection:
        key = f"{host.address}\0{host.port}\0{host.home}\0{host.cache}"
        if key not in self._connections:
            self._connections[key] = Connection(host, _near_cache(), warm=warm)
        return self._connections[key]

    def _drop(self, host: Host) -> None:
        key = f"{host.address}\0{host.port}\0{host.home}\0{host.cache}"
        connection = self._connections.pop(key, None)
        if connection is not None:
            connection.close()


def _near_cache() -> Path:
    return cache()


def _state(said: Mapping[str, Any], *, lost: bool, host: Host) -> State:
    if said["state"] is not None:
        outcome = None if said["outcome"] is None else decode(Outcome, said["outcome"], f"what {host.name} says")
        return State(said["state"], outcome)
    if not lost:
        return State(SUBMITTED)
    from runner.worker.clock import now
    from runner.worker.facts import Failure

    failure = Failure(f"the run never came to {host.name}: mlrun was killed while it sent it", "run it again")
    return State("lost", Outcome("lost", now(), error=failure))
