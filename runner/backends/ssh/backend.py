"""The backend `ssh`: runs on another machine, which carries them out alone once it has them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runner.backends.backend import Launch, Sink, Ticket
from runner.backends.choice import host_of
from runner.backends.exit_codes import exit_code
from runner.backends.host import Host
from runner.backends.ssh import tickets
from runner.backends.ssh.bring import Bring
from runner.backends.ssh.cargo import Cargo
from runner.backends.ssh.connection import Connection
from runner.backends.ssh.deliver import Delivery, Unwanted
from runner.backends.ssh.follow import Follow
from runner.backends.ssh.looking import is_ours, question, state_of
from runner.backends.ssh.refusals import Unreachable
from runner.errors import BackendError, FormatError, RunNotFoundError, UsageError
from runner.store.home import cache
from runner.worker.clock import now
from runner.worker.codec import decode, encode
from runner.worker.facts import Cancellation
from runner.worker.files import canonical, pretty, write_once
from runner.worker.objects import Objects
from runner.worker.remote.frames import Frame
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.state import UNREACHABLE, State, killed

if TYPE_CHECKING:
    from runner.store.store import Store

_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)  # seconds between tries to deliver a run over a link that is cut
_LOOKING = 5.0  # seconds without a sign of life, where one looks: `mlrun list` waits for it
_ANSWERING = 10.0  # seconds for the answer, whatever the machine is at
_QUICK = 8 << 20  # bytes that are brought by the way
_ARRIVING = 0.5  # seconds between two looks for a run that is on its way
_HOSTS = 16  # looked at at a time


class SshBackend:
    """Runs on one other machine; tickets of others are served as well."""

    in_place = False  # nobody has the project's directory there
    heeds_cancel = True  # also while a run is on its way, which may take hours

    def __init__(self) -> None:
        """Know no machine yet."""
        self._host: Host | None = None
        self._connections: dict[str, Connection] = {}
        self._follows: dict[str, Follow] = {}
        self._listed: dict[str, Frame] = {}  # results that came with the end of a run
        self._local: dict[str, RunDirectory] = {}
        self._say: Callable[[str], None] = lambda _: None

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
        self._say = launch.say
        cargo = Cargo(run, store, launch, host)
        delivery = Delivery(cargo, launch.say, lambda: run.find(Cancellation))
        try:
            if host.ship_packages and cargo.submission.spec.environment.kind == "virtualenv":
                delivery.expect_wanted()
                self._gather_packages(cargo, store, launch, host)
            self._deliver(delivery, host)
        except Unwanted:
            self._drop(host)
            run.write(killed(run.read(Cancellation)))
        return ticket

    def look(self, tickets_: Sequence[Ticket]) -> Mapping[str, State]:
        """Ask each machine once, all at a time; `unreachable` is a state of its own."""
        states: dict[str, State] = {}
        asked: dict[Host, list[Ticket]] = {}
        for ticket in tickets_:
            try:
                asked.setdefault(tickets.host_of(ticket), []).append(ticket)
            except FormatError as error:  # of one run: the others are told of as ever
                states[ticket.run] = State(UNREACHABLE, remark=error.message)
        if not asked:
            return states
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(len(asked), _HOSTS)) as pool:
            answers = pool.map(lambda pair: self._look(*pair), asked.items())
            for answer in answers:
                states |= answer
        return states

    def follow(self, ticket: Ticket, sink: Sink) -> int:
        """Pass on what a run says and prints, also across cuts of the link; the exit code."""
        self._say = sink.progress
        follow = self._follows.setdefault(ticket.run, Follow(ticket, self._local.get(ticket.run)))
        try:
            ended = self._until_ended(ticket, follow, sink)
        except Unreachable:
            raise
        except BackendError:
            ended = self.look([ticket])[ticket.run]
            if not ended.ended:
                raise
        except BaseException:
            self._drop(tickets.host_of(ticket))  # what was on its way is in nobody's hands
            raise
        if follow.results is not None:
            self._listed[ticket.run] = follow.results
        if ended.outcome is None:
            message = f"the run {ticket.run} is {ended.name} on {ticket.data['host']}, and cannot be followed"
            raise BackendError(message, hint="`mlrun show` says what is known of it")
        return exit_code(ended.outcome)

    def _until_ended(self, ticket: Ticket, follow: Follow, sink: Sink) -> State:
        """Return how a run has ended; one that is still on its way to its machine is awaited there."""
        run = self._local.get(ticket.run)
        while True:
            outcome = None if run is None else run.find(Outcome)
            if outcome is not None:  # its end was asked for on the way, or who brought it has followed it to its end
                follow.known(sink)
                return State(outcome.status, outcome)
            try:
                return follow.until_ended(sink, lambda: self._connection(tickets.host_of(ticket)), self._drop)
            except RunNotFoundError as error:
                state = self.look([ticket])[ticket.run]
                if state.ended:
                    return state
                if state.arrived or run is None or is_ours(run):  # or else it is where we brought it
                    raise BackendError(state.remark or error.message, hint=error.hint) from None
                time.sleep(_ARRIVING)

    def cancel(self, ticket: Ticket, signal: str = "TERM") -> None:
        """Have the machine end a run; over a connection of its own, for another may be waiting for the run's output.

        Where it does not have the run yet, who brings it finds a note. It is asked once more then: the run may have
        come before the note was there.
        """
        run = self._local.get(ticket.run)
        note = Cancellation(now(), f"pid {os.getpid()} on {os.uname().nodename}", signal)
        try:
            with Connection(tickets.host_of(ticket), cache()) as connection:
                for _ in range(2):
                    with suppress(RunNotFoundError):
                        connection.ask("cancel", run=ticket.run, signal=signal, by=note.by)
                        return
                    if run is not None:
                        run.write(note)
        except Unreachable:
            if run is not None and is_ours(run):
                run.write(note)  # we may be about to bring it
            raise

    def collect(self, ticket: Ticket, run: RunDirectory) -> None:
        """Bring the results of an ended run here: outputs, artifacts, logs, metrics, checked by digest."""
        self.bring(ticket, run, outputs=tickets.fetches(ticket))
        self._follows.pop(ticket.run, None)
        self._drop(tickets.host_of(ticket))

    def collect_quickly(self, ticket: Ticket, run: RunDirectory) -> None:
        """As ``collect``, where it is no more than a few megabytes; else nothing."""
        connection = self._connection(tickets.host_of(ticket), quietly=True)
        found = Bring(connection.ask("results", within=_ANSWERING, run=ticket.run), run, _objects(run))
        outputs = tickets.fetches(ticket)
        if sum(item.size for item in found.lacking(outputs=outputs)) <= _QUICK:
            found.finish(connection, outputs=outputs)

    def peek(self, ticket: Ticket, run: RunDirectory, sink: Sink) -> None:
        """Pass on what a run has printed until now."""
        with suppress(RunNotFoundError):  # it is on its way, or lost: then it has printed nothing
            Follow(ticket, run).so_far(sink, self._connection(tickets.host_of(ticket)))

    def discard(self, ticket: Ticket) -> None:
        """Remove an ended run's directory from its machine."""
        self._connection(tickets.host_of(ticket), quietly=True).ask("remove", run=ticket.run)

    def bring(self, ticket: Ticket, run: RunDirectory, *, outputs: bool = True) -> int:
        """As ``collect``, also what was to stay there; return the bytes that came besides the record's files."""
        host = tickets.host_of(ticket)
        for pause in (*_PAUSES, None):
            try:
                connection = self._connection(host)
                listed = self._listed.pop(ticket.run, None) or connection.ask("results", run=ticket.run)
                return Bring(listed, run, _objects(run)).finish(connection, outputs=outputs)
            except Unreachable as error:
                self._drop(host)
                if pause is None:
                    raise
                self._say(f"{error.message}; the results are brought as soon as may be")
                time.sleep(pause)
        raise AssertionError

    def _gather_packages(self, cargo: Cargo, store: Store, launch: Launch, host: Host) -> None:
        from runner.backends.ssh.packages import gather
        from runner.worker.remote.survey import Survey

        answer = self._connection(host).ask("survey", canonical(encode(cargo.submission)))
        found = decode(Survey, answer.head["found"], f"what {host.name} says")
        cargo.add_packages(gather(cargo.submission.spec, store, launch, found))

    def _deliver(self, delivery: Delivery, host: Host) -> str:
        for pause in (*_PAUSES, None):
            try:
                return delivery.over(self._connection(host))
            except BackendError as error:
                if not (isinstance(error, Unreachable) or delivery.may_have_started):
                    raise
                self._drop(host)
                delivery.expect_wanted()
                self._say(f"{error.message}; it is tried again")
                if pause is None and not delivery.may_have_started:
                    raise
                if pause is None:
                    return ""  # it may run: whoever follows it finds out
                time.sleep(pause)
        raise AssertionError

    def _look(self, host: Host, asked: Sequence[Ticket]) -> dict[str, State]:
        runs = [question(ticket, host, self._local.get(ticket.run)) for ticket in asked]
        try:
            states = self._ask_for_states(host, runs)
        except BackendError as error:
            return {ticket.run: State(UNREACHABLE, remark=error.message) for ticket in asked}
        pairs = zip(asked, states, strict=True)
        return {ticket.run: state_of(ticket, self._local.get(ticket.run), said) for ticket, said in pairs}

    def _ask_for_states(self, host: Host, runs: Sequence[Sequence[object]]) -> list[Mapping[str, Any]]:
        reused = _key(host) in self._connections
        try:
            connection = self._connection(host, quietly=True)
            return list(connection.ask("look", within=_ANSWERING, runs=runs).head["states"])
        except Unreachable:
            self._drop(host)
            if not reused:
                raise
        return self._ask_for_states(host, runs)

    def _named(self) -> Host:
        if self._host is None:
            message = "the backend 'ssh' needs a machine"
            raise UsageError(message, hint="""`--on user@machine`, or -c '{"host": "lab"}'""")
        return self._host

    def _connection(self, host: Host, *, warm: bool = False, quietly: bool = False) -> Connection:
        if _key(host) not in self._connections:
            self._connections[_key(host)] = (
                Connection(host, cache(), quietly=True, patience=_LOOKING, connect=_LOOKING)
                if quietly
                else Connection(host, cache(), warm=warm)
            )
        return self._connections[_key(host)]

    def _drop(self, host: Host) -> None:
        connection = self._connections.pop(_key(host), None)
        if connection is not None:
            connection.close()


def _key(host: Host) -> str:
    return f"{host.address}\0{host.port}\0{host.home}\0{host.cache}"


def _objects(run: RunDirectory) -> Objects:
    """Return the objects of the store that a run's directory lies in."""
    return Objects(run.path.parents[1] / "objects")
