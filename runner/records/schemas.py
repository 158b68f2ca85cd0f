"""The JSON Schemas of stored formats, asked for words where a constructor has refused a value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_MOST_LINES = 20


def load(name: str) -> dict[str, Any]:
    """Return a schema by its name: `record`, `run-spec`. In the wheel it lies in the package, else beside it."""
    package = Path(__file__).parent.parent
    for directory in (package / "schemas", package.parent / "schemas"):
        path = directory / f"{name}.schema.json"
        if path.exists():
            schema: dict[str, Any] = json.loads(path.read_bytes())
            return schema
    raise FileNotFoundError(name)


def explain(name: str, data: Any) -> tuple[str, ...]:
    """Return where and how JSON breaks a schema, one line each; empty where it does not."""
    from jsonschema import Draft202012Validator

    errors = Draft202012Validator(load(name)).iter_errors(data)
    lines = (f"{error.json_path}: {error.message[:200]}" for error in errors)
    return tuple(line for _, line in zip(range(_MOST_LINES), lines, strict=False))
