"""Parameters' files in JSON: numbers keep the text they are written in, and a name stands only once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.errors import ProjectError
from runner.project.document import shown


def parse_json(data: bytes, path: Path) -> Mapping[str, Any]:
    """Return the values of a JSON object by name; ProjectError names file and line."""
    try:
        values = json.loads(
            data.decode("utf-8-sig"), parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_unique
        )
    except json.JSONDecodeError as error:
        message = f"{shown(path)}:{error.lineno}: it is not valid JSON: {error.msg}"
        raise ProjectError(message, hint="check commas and quotes, or write it as YAML, in a .yaml file") from None
    except (UnicodeDecodeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else "it is not text in UTF-8"
        message = f"{shown(path)}: {reason}"
        raise ProjectError(message, hint="is it the right file?") from None
    except _TwiceError as error:
        message = f"{shown(path)}: the name {error.args[0]!r} comes twice"
        raise ProjectError(message, hint="keep one of them") from None
    if not isinstance(values, dict):
        message = f"{shown(path)}: a JSON object with the parameters' values is expected"
        raise ProjectError(message, hint='write {"alpha": 0.5}')
    for name, value in values.items():
        if any(isinstance(part, dict) for part in (value, *(value if isinstance(value, list) else ()))):
            message = f"{shown(path)}: {name}: a value or a list is expected, not an object"
            raise ProjectError(message, hint="parameters stand at the top of the file, not under an entry point")
    return values


class _TwiceError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise _TwiceError(name)
        values[name] = value
    return values
