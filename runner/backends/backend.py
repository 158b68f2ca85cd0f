"""What carries runs out, on one host or many: a backend gets a planned run, never a URI and raw arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from runner.worker.codec import decode, encode
from runner.worker.facts import Placement
from runner.worker.files import Json
from runner.worker.rundir import RunDirectory
from runner.worker.state import State
from runner.worker.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from runner.store.store import Store


@dataclass(frozen=True)
class Launch:
    """How a run is to be carried out: facts of this moment and this machine that are no part of the run."""

    root: Path | None = None  # in place: the directory the snapshot was taken from; None: a fresh one
    inputs: Mapping[str, str] = field(default_factory=dict)  # Input.name -> absolute path here
    directories: tuple[str, ...] = ()  # without source, relative to the project: a fresh directory gets them too
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    installer: Mapping[str, str] = field(default_factory=dict, repr=False)  # variables for uv: index credentials
    foreground: bool = False  # the command reads this process's standard input
    upgrade: bool = False  # resolve the environment anew
    upgrade_packages: tuple[str, ...] = ()  # these alone
    python: str | None = None  # an interpreter that can import virtualenv
    uv: str | None = None
    keep_work: bool = False
    keep_outputs: bool = False  # store undeclared outputs too
    trace: bool = True  # note which files the command's Pythons open
    offline: bool = False
    lenient: bool = False  # a re-run on another machine than the first: a Python of the recorded series will do
    fetch: bool = True  # outputs come back by themselves, from where the run is carried out
    say: Callable[[str], None] = field(default=lambda _: None, repr=False)  # hears of what takes long

    @property
    def mode(self) -> str:
        """Where the run works, as `Request.mode` has it."""
        return "fresh" if self.root is None else "in-place"

    def place(self, store: str = "", cache: str = "") -> Placement:
        """Return what a placement takes over as it is; the places on the host that carries the run out are added."""
        return Placement(
            store=store,
            cache=cache,
            directories=self.directories,
            upgrade=self.upgrade,
            upgrade_packages=self.upgrade_packages,
            offline=self.offline,
            keep_work=self.keep_work,
            keep_outputs=self.keep_outputs,
            trace=self.trace,
            lenient=self.lenient,
        )


@dataclass(frozen=True)
class Ticket:
    """What finds a launched run again; ticket.json, written before anything is launched."""

    run: str
    backend: str
    directory: str  # the run directory on the host that carries it out
    data: Mapping[str, str] = field(default_factory=dict)  # the backend's own
    version: int = 1

    def to_json(self) -> Json:
        """Return the ticket as JSON."""
        return encode(self)

    @classmethod
    def from_json(cls, data: Json) -> Ticket:
        """Return the ticket a JSON value holds; FormatError names what does not fit."""
        return decode(cls, data, "ticket.json")


class Sink(Protocol):
    """Where the output of a followed run goes, as bytes and in pieces of any size."""

    def stdout(self, data: bytes) -> None:
        """Take a piece of the command's standard output."""

    def stderr(self, data: bytes) -> None:
        """Take a piece of its standard error."""

    def progress(self, text: str) -> None:
        """Take a line that the worker says while it prepares."""


@runtime_checkable
class Backend(Protocol):
    """Carries runs out. Third parties: the entry-point group `mlrun.backends` names a class without arguments.

    `runner/testing/contract.py` says in tests what each method promises.
    """

    def submit(self, run: RunDirectory, store: Store, launch: Launch) -> Ticket:
        """Launch a planned run, detached: it ends without this process. BackendError leaves a failed outcome."""

    def look(self, tickets: Sequence[Ticket]) -> Mapping[str, State]:
        """Return the state of each run, by its id; one call per host, however many runs."""

    def follow(self, ticket: Ticket, sink: Sink) -> int:
        """Pass a run's output on until it has ended; return mlrun's exit code for it.

        Called again on the same backend it goes on where it was interrupted.
        """

    def cancel(self, ticket: Ticket, signal: str = "TERM") -> None:
        """Ask for the end of a run: INT, TERM, or KILL at once. Nothing happens where it has ended."""

    def collect(self, ticket: Ticket, run: RunDirectory) -> None:
        """Bring the results of an ended run into ``run``."""
