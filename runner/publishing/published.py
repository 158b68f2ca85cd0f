"""What of a run is at a server: a file beside its record, for each server, and for each sub-run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path

from runner.worker.codec import decode, encode
from runner.worker.files import pretty, read_json, replace
from runner.worker.hashing import sha256_of
from runner.worker.rundir import RunDirectory
from runner.worker.values import dataclass

VERSION = 1


@dataclass(frozen=True)
class Refusal:
    """Something that the server did not want."""

    what: str
    reason: str


@dataclass(frozen=True)
class Published:
    """published/SERVER/RUN.json: which run of the server a run is, and how far it has been brought there."""

    server: str  # the address, without credentials
    experiment_id: str
    run_id: str  # the server's own
    at: str
    begun: bool = False  # its parameters are there
    metrics: int = 0  # bytes of metrics.jsonl that are there
    tracking: int = 0  # bytes of tracking.jsonl
    scores: bool = False  # the metrics of declared files are there
    artifacts: str = ""  # the last one that is there, in their order
    models: Mapping[str, str] = field(default_factory=dict)  # the server's ids of logged models, by their directories
    modeled: bool = False  # they are there whole
    registered: bool = False  # the models that it registered are registered there
    status: str = ""  # that was told last
    complete: bool = False  # all of an ended run is there
    refused: tuple[Refusal, ...] = ()
    version: int = VERSION


class Shelf:
    """The files that say what of a run is at one server."""

    def __init__(self, run: RunDirectory, server: str) -> None:
        """Name the directory."""
        self.path = run.published / sha256_of(server.encode())[:16]

    def find(self, identity: str) -> Published | None:
        """Return what is said of the run, or of a sub-run; None where nothing is. FormatError where it is damaged."""
        path = self._file(identity)
        try:
            return decode(Published, read_json(path), str(path))
        except FileNotFoundError:
            return None

    def keep(self, identity: str, published: Published) -> None:
        """Write what is there by now."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(self._file(identity), pretty(encode(published)))

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the shelf alone; False where another process does: one is enough."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            except OSError:  # a file system without locks: a batch that comes twice is one to the server
                yield True
            else:
                yield True
        finally:
            os.close(descriptor)

    def _file(self, identity: str) -> Path:
        return self.path / f"{identity}.json"


def every(run: RunDirectory) -> list[Published]:
    """Return what is said of a run, of all servers."""
    files = sorted(run.published.glob(f"*/{run.id}.json"))
    return [decode(Published, read_json(path), str(path)) for path in files]
