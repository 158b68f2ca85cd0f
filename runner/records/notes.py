"""What people say of a run later on: lines beside the sealed record, which stays as it is."""

from __future__ import annotations

import json
import os
from typing import Any

from runner.errors import StoreError
from runner.records.basics import TIME, require
from runner.records.clean import clean_text
from runner.worker.clock import now
from runner.worker.codec import decode, encode
from runner.worker.rundir import RunDirectory
from runner.worker.values import dataclass

VERSION = 1


@dataclass(frozen=True)
class Note:
    """A line of notes.jsonl; `schemas/note.schema.json` describes it."""

    at: str  # UTC, milliseconds
    by: str
    text: str
    version: int = VERSION

    def __post_init__(self) -> None:
        """Refuse another version, another form of time, and a note that says nothing."""
        require(self.version == VERSION, f"a note of version {self.version} is not known here")
        require(TIME.fullmatch(self.at) is not None, f"{self.at!r} is no time as records have it")
        require(self.text != "", "a note says something")


def add_note(run: RunDirectory, text: str, by: str) -> Note:
    """Append a note to a run; StoreError where it cannot be written."""
    note = Note(now(), by, clean_text(text))
    line = json.dumps(encode(note)) + "\n"
    try:
        descriptor = os.open(run.notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode("ascii"))  # whole, by one write: two people may note at once
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        message = f"the note cannot be written to {run.notes}: {error.strerror}"
        raise StoreError(message, hint="free some space, or look at who owns the run's directory") from None
    return note


def read_notes(run: RunDirectory) -> tuple[Note, ...]:
    """Return a run's notes, the oldest first; a line that is none is passed over."""
    try:
        lines = run.notes.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ()
    found = (_note(line) for line in lines)
    return tuple(note for note in found if note is not None)


def _note(line: str) -> Note | None:
    try:
        data: Any = json.loads(line)
        return decode(Note, data, "notes.jsonl")
    except (ValueError, StoreError):
        return None
