"""Volumes as a project writes them: a shell read them for MLflow, so `$(pwd)`, `${PWD}`, variables and `~` expand."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from runner.errors import EnvironmentBuildError

_SHELL = re.compile(r"\$\(\s*pwd\s*\)|`\s*pwd\s*`|\$\{(\w+)\}|\$(\w+)")


def expand(volume: str, project: Path, environ: Mapping[str, str]) -> str:
    """Return a volume with its host's part absolute; EnvironmentBuildError where that is not there.

    The name of a volume that the engine keeps (`data:/data`) stays as it is.
    """
    variables = {**environ, "PWD": str(project)}

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2) or "PWD"
        if name not in variables:
            message = f"docker_env: volumes: {volume!r} uses {match.group()}, which is not set on this host"
            raise EnvironmentBuildError(message, hint=f"set {name}, or write the path out")
        return variables[name]

    text = _SHELL.sub(value, volume.replace('"', "").strip())
    place, colon, rest = text.partition(":")
    if place == "~" or place.startswith("~/"):
        place = variables.get("HOME", "~") + place[1:]
    if place.startswith(("./", "../")) or place in (".", ".."):
        place = os.path.normpath(project / place)
    if colon and os.path.isabs(place) and not os.path.exists(place):
        message = f"docker_env: volumes: {place} is not there ({volume!r})"
        raise EnvironmentBuildError(message, hint="make the directory, or correct the volume")
    return f"{place}{colon}{rest}"


def target(volume: str) -> str:
    """Return where in the container a volume lies."""
    parts = volume.split(":")
    return os.path.normpath(parts[1] if len(parts) > 1 else parts[0])
