"""Say something of a run after it has ended, in the name of who is at the keyboard."""

from __future__ import annotations

from pathlib import Path

from runner.errors import UsageError
from runner.flow.actor import actor
from runner.records.notes import Note, add_note
from runner.worker.rundir import RunDirectory


def add(run: RunDirectory, text: str) -> Note:
    """Append a note to a run; UsageError where it says nothing, StoreError where it cannot be written."""
    if not text.strip():
        message = "the note is empty"
        raise UsageError(message, hint='write mlrun note ID "what is to be said"')
    who = actor(Path.cwd())
    return add_note(run, text.strip(), who.name or who.user)
