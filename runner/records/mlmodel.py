"""Files of logged models compared by what they say of a model: without ids, times and places of their run."""

from __future__ import annotations

import posixpath
from typing import Any

from runner.errors import IntegrityError
from runner.records.basics import Digest
from runner.worker.objects import Objects

_NAME = "MLmodel"
_SKOPS = ".skops"
_OWN = frozenset({"run_id", "model_id", "model_uuid", "utc_time_created", "artifact_path", "artifact_uri", "model_uri"})


def same_model(path: str, before: Digest, after: Digest, objects: Objects | None) -> bool:
    """Whether two files say the same of a model; False where they are none, or their bytes are not in the store."""
    name = posixpath.basename(path)
    if objects is None or not (name == _NAME or name.endswith(_SKOPS)):
        return False
    from runner.records.skops import read_skops

    try:
        read = _read if name == _NAME else read_skops
        first, second = (read(objects.read(digest.sha256)) for digest in (before, after))
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
