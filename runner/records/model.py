"""The record of a run: what it was, who asked for it, what ran on what, and what came out. One frozen value per group.

`schemas/record.schema.json` says the same of the JSON; a test holds the two together. A value that breaks a rule of the
format cannot be made: FormatError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from runner.records.basics import TIME, Digest, require
from runner.records.results import Input, Log, Metrics, Output, Result
from runner.records.setting import Code, EntryPoint, Environment, Execution, Platform
from runner.records.tracking import Tracking
from runner.worker.facts import Actor, Gap
from runner.worker.spec import Parameter
from runner.worker.values import dataclass

VERSION = 1
STATUSES = frozenset(
    {
        *("planned", "submitted", "preparing", "running", "orphaned", "unreachable"),
        *("succeeded", "failed", "killed", "lost"),
    }
)

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Run:
    """Which run this is, and when it was."""

    id: str
    status: str
    created: str
    name: str = ""
    started: str | None = None  # the command began
    ended: str | None = None
    duration: float | None = None  # seconds that the command took
    experiment: str | None = None

    def __post_init__(self) -> None:
        """Refuse unknown statuses, and times in another form."""
        require(_ID.fullmatch(self.id) is not None, f"{self.id!r} is no run id")
        require(self.status in STATUSES, f"{self.status!r} is no status")
        for moment in (self.created, self.started, self.ended):
            require(moment is None or TIME.fullmatch(moment) is not None, f"{moment!r} is no time as records have it")


@dataclass(frozen=True)
class Why:
    """What the user said of it."""

    text: str = ""
    refs: tuple[str, ...] = ()  # issues and pages that the text names
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Relations:
    """Other runs that it belongs to, by id."""

    parent: str | None = None
    rerun_of: str | None = None
    reused: str | None = None  # nothing was executed: the results are those of this run
    sweep: str | None = None


@dataclass(frozen=True)
class Tool:
    """What made the record."""

    name: str
    version: str


@dataclass(frozen=True)
class Record:
    """The provenance of a run. Where a fact is missing that a reader would look for, a gap says why."""

    run: Run
    actor: Actor
    why: Why
    code: Code
    entry_point: EntryPoint
    parameters: tuple[Parameter, ...]
    environment: Environment
    platform: Platform | None
    execution: Execution
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    logs: Mapping[str, Log]
    metrics: Metrics
    result: Result
    relations: Relations
    spec_digest: Digest
    pinned_digest: Digest
    tool: Tool
    gaps: tuple[Gap, ...]
    tracking: Tracking | None = None  # what was logged through MLflow's client
    contents: Digest | None = None  # of contents.sha256, the list of the run directory's files
    version: int = VERSION

    def __post_init__(self) -> None:
        """Refuse a fact that is missing without a word."""
        require(self.version == VERSION, f"a record of version {self.version} is not known here")
        explained = {gap.field for gap in self.gaps}
        for name in missing(self):
            require(name in explained, f"{name} is missing, and no gap says why")


def missing(record: Record) -> tuple[str, ...]:
    """Return the facts that are not there and that need a gap."""
    facts = {
        "code.commit": record.code.commit,
        "environment.lock": record.environment.lock,
        "environment.interpreter": record.environment.interpreter,
        "environment.installed": record.environment.installed,
        "platform": record.platform,
        "run.started": record.run.started,
        "result.usage": record.result.usage,
    }
    return tuple(name for name, fact in facts.items() if fact is None)
