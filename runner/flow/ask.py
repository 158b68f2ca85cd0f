"""What a user asks for, before anything is read or planned."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from runner.errors import UsageError
from runner.project.parameters import Values
from runner.worker.values import dataclass

Say = Callable[[str], None]
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def run_name(name: str) -> str:
    """Return the name of a run; UsageError where it could not be told from something else, or takes several lines."""
    if name == "latest":
        message = "a run cannot be named `latest`: that is the newest run, always"
        raise UsageError(message, hint="choose another name")
    if _CONTROL.search(name):
        message = f"{name!r} is no name of a run: it holds a line break or a control character"
        raise UsageError(message, hint="choose a name of one line; -m takes what there is to say")
    return name


@dataclass(frozen=True)
class Labels:
    """What the user says of a run, for people to find it by."""

    name: str = ""
    why: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    experiment: str | None = None
    experiment_id: str | None = None
    tracking_uri: str | None = None  # of a team's MLflow server


@dataclass(frozen=True)
class Containing:
    """How a project's container is to be run, where it has one."""

    arguments: tuple[str, ...] = ()  # of `-A`
    build: bool = False


@dataclass(frozen=True)
class Ask:
    """A request to run an entry point of a project."""

    uri: str = "."
    entry_point: str = "main"
    values: Values = field(default_factory=lambda: Values((), {}))
    version: str | None = None
    env_manager: str | None = None
    backend: str = "local"
    backend_config: Mapping[str, Any] = field(default_factory=dict)  # JSON values; what `-c` and `--on` say
    fetch: bool = True  # outputs come back by themselves
    isolated: bool = False
    validate: bool = True
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    exclude_newer: str | None = None  # RFC 3339: packages uploaded later are left out
    labels: Labels = field(default_factory=Labels)
    storage_dir: Path | None = None
    size_cap: int | None = None  # bytes; None: the default of snapshots
    keep_work: bool = False
    keep_outputs: bool = False  # store undeclared outputs too
    trace: bool = True
    reuse: bool = False  # where a past run came to the same already, execute nothing
    container: Containing = field(default_factory=Containing)
    argv: tuple[str, ...] = ()
