"""The sealed record: written once and whole, with the sha256 of its bytes beside it, as `sha256sum -c` reads it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from runner.errors import FormatError, IntegrityError
from runner.records.model import VERSION, Record
from runner.worker.codec import decode, encode
from runner.worker.files import Json, pretty, read_json, write_once
from runner.worker.rundir import RunDirectory


def seal(run: RunDirectory, record: Record) -> Path:
    """Write a run's record and its seal; the first record that was written stands. Return where it lies."""
    data = encode(record)
    decode(Record, data, "record.json")  # what could not be read again is not written
    write_once(run.record, pretty(data))
    seal_as_it_is(run)
    return run.record


def seal_as_it_is(run: RunDirectory) -> None:
    """Write the seal of the record that is there, where it is missing: the writer of a record may not live to do so."""
    if not run.seal.exists():
        sha256 = hashlib.sha256(run.record.read_bytes()).hexdigest()
        write_once(run.seal, f"{sha256}  {run.record.name}\n".encode("ascii"))


def check_seal(run: RunDirectory) -> str | None:
    """Return why a record is not what was sealed; None where it is."""
    try:
        sealed, data = run.seal.read_bytes(), run.record.read_bytes()
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    if sealed != f"{hashlib.sha256(data).hexdigest()}  {run.record.name}\n".encode("ascii"):
        return f"{run.record.name} does not have the sha256 that {run.seal.name} holds"
    return None


def read(run: RunDirectory) -> Json:
    """Return a sealed record as JSON. FormatError for another format, IntegrityError for bytes that were changed."""
    try:
        data = read_json(run.record)
    except FileNotFoundError:
        message = f"the run {run.id} has no record yet"
        raise FormatError(message, hint=f"`mlrun wait {run.id}` waits until it has ended") from None
    version = data.get("version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > VERSION:
        message = f"{run.record} is of version {version}; this mlrun reads {VERSION}"
        raise FormatError(message, hint="upgrade mlrun")
    reason = check_seal(run)
    if reason is not None:
        message = f"the record of the run {run.id} was changed: {reason}"
        raise IntegrityError(message, hint=f"restore {run.path} from a backup")
    return data


def parse(data: Json | Record) -> Record:
    """Return the record that JSON holds; FormatError says what does not fit, in the words of the schema."""
    if isinstance(data, Record):
        return data
    try:
        return decode(Record, data, "record.json")
    except FormatError as error:
        raise FormatError(_explained(data, error.message), hint=error.hint) from None


def _explained(data: Any, message: str) -> str:
    from runner.records.schemas import explain

    found = explain("record", data)
    return f"{message} ({found[0]})" if found else message
