"""Files of logged models compared by what they say of a model: without ids, times and places of their run."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from runner.errors import IntegrityError
from runner.records.basics import Digest
from runner.records.model import Record
from runner.worker.objects import Objects

_NAME = "MLmodel"
Side = tuple[Digest, str]  # a file's, and the directory that its run worked in
# The size is that of the files beside it, which are compared themselves: a path in a pickle makes it longer.
_OWN = frozenset(
    {
        *("run_id", "model_id", "model_uuid", "utc_time_created", "artifact_path", "artifact_uri", "model_uri"),
        "model_size_bytes",
    }
)


def same_model(path: str, before: Side, after: Side, objects: Objects | None) -> bool:
    """Whether two files say the same of a model; False where they are none, or their bytes are not in the store."""
    reader = _reader(posixpath.basename(path))
    if objects is None or reader is None:
        return False
    try:
        first, second = (reader(objects.read(digest.sha256), home) for digest, home in (before, after))
    except (IntegrityError, ValueError):
        return False
    return bool(first == second)


def home_of(record: Record) -> str:
    """Return the directory that a run's command began in."""
    cwd = record.entry_point.cwd or ""
    return unquote(cwd.removeprefix("file://")) if cwd.startswith("file://") else cwd


def _reader(name: str) -> Callable[[bytes, str], Any] | None:
    """Return what reads a file of a model: from its bytes, and the directory that its run worked in."""
    if name == _NAME:
        return lambda data, _: _read(data)
    if name.endswith(".skops"):
        from runner.records.skops import read_skops

        return lambda data, _: read_skops(data)
    if name.endswith(".pkl"):
        from runner.records.pickles import read_pickle

        return read_pickle
    return None


def _read(data: bytes) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _stripped(yaml.load(data, Loader=loader))  # noqa: S506 - both are safe loaders
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stripped(item) for key, item in value.items() if key not in _OWN}
    return [_stripped(item) for item in value] if isinstance(value, list) else value
