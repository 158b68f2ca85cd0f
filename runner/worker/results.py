"""What a run left: files, logs, what it used, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Optional

from runner.worker.facts import VERSION, Gap
from runner.worker.values import dataclass

REUSED = "reused"  # an outcome's reason: nothing was executed, the results are another run's


@dataclass(frozen=True)
class FileFact:
    """A file a run read or wrote."""

    path: str  # POSIX, relative to the project where inside, else absolute; logged: relative to the run directory
    size: int
    sha256: Optional[str]  # None: above a cap, said in the gaps
    basis: str  # declared, parameter, observed, traced, logged, measured
    previous: Optional[str] = None  # an output that replaced a file: the digest before
    parameter: Optional[str] = None
    stored: bool = False  # in the object store
    changed: bool = False  # while the run went on
    name: Optional[str] = None  # the Input or output pattern it answers to
    mode: int = 0o644
    place: Optional[str] = None  # where an output really lies, if it was written through a symlink: absolute


@dataclass(frozen=True)
class Files:
    """inputs.json and outputs.json: the files seen before and after the command."""

    files: tuple[FileFact, ...] = ()
    gaps: tuple[Gap, ...] = ()
    ambiguous: tuple[str, ...] = ()  # snapshot files that changed while the run went on; overlapping runs
    directories: tuple[str, ...] = ()  # inputs.json: those that were there, and that the snapshot does not bring
    version: int = VERSION


@dataclass(frozen=True)
class Usage:
    """What a command used, its descendants included."""

    wall: float  # seconds
    user: float  # CPU seconds
    system: float
    peak_memory: Optional[int] = None  # bytes, of the whole tree
    basis: str = "observed"
    samples: int = 0


@dataclass(frozen=True)
class Log:
    """A sealed log."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Failure:
    """Why a run did not get to its end, in one line, and what to do."""

    message: str
    hint: str = ""


@dataclass(frozen=True)
class Outcome:
    """outcome.json: how the run ended. The first to write it settles it."""

    status: str  # succeeded, failed, killed, lost
    at: str
    reason: Optional[str] = None  # exit, timeout, out-of-memory, node-fail, prepare, submit
    exit_code: Optional[int] = None
    signal: Optional[int] = None  # that ended it
    cancelled: Optional[int] = None  # the signal that was asked for
    error: Optional[Failure] = None
    usage: Optional[Usage] = None
    logs: Mapping[str, Log] = field(default_factory=dict)  # stdout, stderr
    left_behind: int = 0  # processes that outlived the command and were ended
    gaps: tuple[Gap, ...] = ()
    version: int = VERSION
