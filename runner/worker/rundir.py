"""The run directory: the one class that knows its file names. It is the wire format between machines."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, TypeVar

from runner.errors import FormatError
from runner.worker import facts
from runner.worker.codec import decode, encode
from runner.worker.files import pretty, read_json, write_once
from runner.worker.results import Files, Outcome
from runner.worker.spec import RunSpec

T = TypeVar("T")

_NAMES: dict[type, str] = {
    facts.Request: "request.json",
    RunSpec: "spec.json",
    facts.SourceFacts: "source.json",
    facts.Placement: "placement.json",
    facts.Claim: "claim.json",
    facts.InstalledEnvironment: "environment.json",
    facts.Launching: "launching.json",
    facts.Launched: "launch.json",
    facts.Start: "start.json",
    Outcome: "outcome.json",
    facts.Cancellation: "cancel.json",
}

# After a crash of the machine a run without an outcome is lost, whatever else of it has reached the disk.
_FOLLOWED = {facts.Claim, facts.InstalledEnvironment, facts.Start}


class RunDirectory:
    """A run's files. Each JSON file is written once, whole or not at all; logs and metrics only grow."""

    def __init__(self, path: Path) -> None:
        """Name the directory; it is made by the store."""
        self.path = path

    def __repr__(self) -> str:
        """Return the path, which is the run's whole identity here."""
        return f"RunDirectory({str(self.path)!r})"

    @property
    def id(self) -> str:
        """The run's id: the directory's name."""
        return self.path.name

    @property
    def ticket(self) -> Path:
        """What finds the launched run again; its content belongs to the backend."""
        return self.path / "ticket.json"

    @property
    def inputs(self) -> Path:
        """The files seen before the command."""
        return self.path / "inputs.json"

    @property
    def outputs(self) -> Path:
        """The files seen after the command."""
        return self.path / "outputs.json"

    @property
    def opened(self) -> Path:
        """What the command's Pythons open: directories to watch, an empty name, files; NUL after each."""
        return self.path / "opened"

    @property
    def traced(self) -> Path:
        """The inputs that were really opened, found when the command had ended."""
        return self.path / "traced.json"

    @property
    def stdout(self) -> Path:
        """The command's standard output."""
        return self.path / "stdout.log"

    @property
    def stderr(self) -> Path:
        """The command's standard error."""
        return self.path / "stderr.log"

    @property
    def progress(self) -> Path:
        """What the worker says while it prepares: one JSON object a line."""
        return self.path / "progress.jsonl"

    @property
    def worker_log(self) -> Path:
        """The worker's own standard error: empty unless mlrun has a defect."""
        return self.path / "worker.log"

    @property
    def launcher_log(self) -> Path:
        """What a launcher says of its job, and what goes wrong before the worker begins there."""
        return self.path / "slurm.log"

    @property
    def metrics(self) -> Path:
        """One JSON object a line: name, value, step; what $MLRUN_METRICS names."""
        return self.path / "metrics.jsonl"

    @property
    def tracking(self) -> Path:
        """What else was logged through MLflow's client, one JSON object a line: parameters, tags, models, ..."""
        return self.path / "tracking.jsonl"

    @property
    def children(self) -> Path:
        """The runs that a client made by itself, each with `metrics.jsonl`, `tracking.jsonl` and `artifacts`."""
        return self.path / "children"

    @property
    def artifacts(self) -> Path:
        """What the run logged as artifacts."""
        return self.path / "artifacts"

    @property
    def published(self) -> Path:
        """What of the run is at MLflow servers: it grows after the record is sealed."""
        return self.path / "published"

    @property
    def work(self) -> Path:
        """The fresh directory of a run that is not in place."""
        return self.path / "work"

    @property
    def seen(self) -> Path:
        """What the machine that has the run last said of it, and when; on the machine that asks."""
        return self.path / "seen.json"

    @property
    def brought(self) -> Path:
        """Inputs that came from another machine, as long as the run goes on."""
        return self.path / "brought"

    @property
    def scratch(self) -> Path:
        """What is built for this run alone and removed after it: an environment that installs the fresh directory."""
        return self.path / "scratch"

    @property
    def reserve(self) -> Path:
        """Room on the disk for the outcome: a file that is given back before it is written."""
        return self.path / ".reserve"

    @property
    def secrets(self) -> Path:
        """Secrets on their way to the command: 0600, unlinked as soon as it has read them."""
        return self.path / "secrets.json"

    @property
    def variables(self) -> Path:
        """A command's variables on their way into its container: 0600, emptied as soon as it has read them."""
        return self.path / ".variables"

    @property
    def record(self) -> Path:
        """The sealed record."""
        return self.path / "record.json"

    @property
    def seal(self) -> Path:
        """The sha256 of the record's bytes, as `sha256sum` writes it."""
        return self.path / "record.json.sha256"

    @property
    def contents(self) -> Path:
        """The sha256 of every other file, as `sha256sum` writes it; the record holds the digest of this list."""
        return self.path / "contents.sha256"

    @property
    def signatures(self) -> Path:
        """Signatures of the record, a file for each key; they come after the seal."""
        return self.path / "signatures"

    @property
    def imported(self) -> Path:
        """Where a run that was not made in this store is from, and what was left out on the way."""
        return self.path / "imported.json"

    @property
    def notes(self) -> Path:
        """What people said of the run later on, one JSON object a line: never part of the sealed record."""
        return self.path / "notes.jsonl"

    def write(self, value: object) -> bool:
        """Write a value to the file of its kind; False, and nothing changed, where another was first."""
        return write_once(self.path / _NAMES[type(value)], pretty(encode(value)), followed=type(value) in _FOLLOWED)

    def read(self, kind: type[T]) -> T:
        """Return the value of a kind; FormatError where the file is missing or wrong."""
        value = self.find(kind)
        if value is None:
            message = f"{self.path / _NAMES[kind]} is missing"
            raise FormatError(message, hint=f"the run {self.id} is damaged; `mlrun rm {self.id}` removes it")
        return value

    def find(self, kind: type[T]) -> Optional[T]:
        """Return the value of a kind, or None where it is not written yet."""
        path = self.path / _NAMES[kind]
        try:
            data = read_json(path)
        except FileNotFoundError:
            return None
        return decode(kind, data, str(path))

    def has(self, kind: type) -> bool:
        """Whether the file of a kind is there."""
        return (self.path / _NAMES[kind]).exists()

    def write_files(self, path: Path, files: Files) -> bool:
        """Write ``inputs`` or ``outputs``."""
        return write_once(path, pretty(encode(files)), followed=True)

    def read_files(self, path: Path) -> Optional[Files]:
        """Return what ``inputs`` or ``outputs`` holds, None where it is not written."""
        try:
            return decode(Files, read_json(path), str(path))
        except FileNotFoundError:
            return None
