"""`MLmodel` files compared by what they say of a model: without the ids, times and places of the run that logged it."""

from __future__ import annotations

import posixpath
from typing import Any

from runner.errors import IntegrityError
from runner.records.basics import Digest
from runner.worker.objects import Objects

_NAME = "MLmodel"
_OWN = frozenset({"run_id", "model_id", "model_uuid", "utc_time_created", "artifact_path", "artifact_uri", "model_uri"})


def same_model(path: str, before: Digest, after: Digest, objects: Objects | None) -> bool:
    """Whether two files say the same of a model; False where they are none, or their bytes are not in the store."""
    if posixpath.basename(path) != _NAME or objects is None:
        return False
    try:
        first, second = (_read(objects.read(digest.sha256)) for digest in (before, after))
    except (IntegrityError, ValueError):
        return False
    return bool(first == second)


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
