"""The groups of a record that say what went in and what came out: files, logs, metrics, the result."""

from __future__ import annotations

from runner.records.basics import BASES, Digest, Number, require, require_number
from runner.worker.results import Failure, Usage
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Input:
    """A file, or a declared directory, that was there before the command."""

    path: str  # POSIX, relative to the project; else a URI
    size: int
    digest: Digest | None
    basis: str
    produced_by: tuple[str, ...] = ()  # earlier runs with an output of these bytes, the newest first
    changed: bool = False  # while the run went on
    stored: bool = False
    name: str | None = None  # as declared
    parameter: str | None = None
    mode: int = 0o644

    def __post_init__(self) -> None:
        """Refuse an unknown basis."""
        require(self.basis in BASES and self.size >= 0, f"the input {self.path!r} has an impossible basis or size")


@dataclass(frozen=True)
class Output:
    """A file that the command made or changed."""

    path: str  # POSIX, relative to the project; of what was logged as an artifact, relative to the run directory
    size: int
    digest: Digest | None
    basis: str
    previous: Digest | None = None  # of the file that it replaced
    changed: bool = False  # while it was hashed
    stored: bool = False
    name: str | None = None  # the declared pattern
    mode: int = 0o644
    place: str | None = None  # where it really lies, if it was written through a symlink: a URI

    def __post_init__(self) -> None:
        """Refuse an unknown basis."""
        require(self.basis in BASES and self.size >= 0, f"the output {self.path!r} has an impossible basis or size")


@dataclass(frozen=True)
class Log:
    """What the command printed: a file of the run directory."""

    path: str
    size: int
    digest: Digest


@dataclass(frozen=True)
class Point:
    """One value of a metric."""

    value: Number
    step: int | None = None

    def __post_init__(self) -> None:
        """Refuse text that is no number."""
        require_number(self.value)


@dataclass(frozen=True)
class Series:
    """All values of one metric, in the order in which they were logged."""

    name: str
    count: int
    last: Number
    minimum: Number
    maximum: Number
    digest: Digest  # of the lines `STEP VALUE`, also where the points are left out
    points: tuple[Point, ...] = ()  # empty where there are more than a record holds
    file: str | None = None  # the declared file it was read from; None where it was logged

    def __post_init__(self) -> None:
        """Refuse text that is no number."""
        for value in (self.last, self.minimum, self.maximum):
            require_number(value)
        require(self.count >= 1, f"the metric {self.name!r} has no value")


@dataclass(frozen=True)
class Metrics:
    """What was logged to $MLRUN_METRICS, and that file; and the numbers in declared files of metrics."""

    series: tuple[Series, ...] = ()
    size: int = 0
    digest: Digest | None = None


@dataclass(frozen=True)
class Result:
    """How it ended."""

    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None  # exit, timeout, out-of-memory, node-fail, prepare, submit
    timed_out: bool = False
    error: Failure | None = None
    usage: Usage | None = None
    left_behind: int = 0  # processes that outlived the command
    ambiguous: tuple[str, ...] = ()  # source files that changed meanwhile, runs that overlapped in one directory
