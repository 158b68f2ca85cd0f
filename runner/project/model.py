"""What an MLproject says, as frozen values: the project, its entry points, what they declare, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from runner.environments.choice import Choice
from runner.worker.spec import Resources
from runner.worker.values import dataclass

ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclass(frozen=True)
class Finding:
    """Something a project's files say that is wrong, or will surprise; a note tells where MLflow does otherwise."""

    severity: str  # error, warning, note
    code: str  # what kind of thing it is, to select by: no-command, yaml-default, ...
    message: str  # what is wrong, and what is expected
    file: str = ""  # as it can be opened from here
    line: int | None = None
    key: str = ""  # entry_points.main.parameters.alpha
    hint: str = ""
    mlflow: str = ""  # what `mlflow run` would do
    entry_point: str | None = None  # an error that only stops runs of this entry point

    @property
    def text(self) -> str:
        """Where it is and what is wrong, on one line."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (where, self.key, self.message) if part)


@dataclass(frozen=True)
class Declaration:
    """A declared parameter: its type, its default as the text the command gets, and what its values have to meet."""

    name: str
    type: str = "string"
    default: str | None = None  # None: required
    words: tuple[str, ...] | None = None  # of the default of a list
    flag: tuple[str, ...] | None = None  # the words a true `bool` stands for
    keywords: Mapping[str, Any] = field(default_factory=dict)  # of JSON Schema
    description: str = ""
    line: int | None = None

    @property
    def required(self) -> bool:
        """Whether a run has to give a value."""
        return self.default is None


@dataclass(frozen=True)
class EntryPoint:
    """A named command, with what its project declares for all of them merged in."""

    name: str
    command: str  # the template
    parameters: Mapping[str, Declaration] = field(default_factory=dict)
    environment: Choice | None = None  # None: the project's
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    strict_shell: bool = False
    metrics: tuple[str, ...] = ()
    declared: bool = True  # False: a script that no MLproject names
    line: int | None = None
    description: str = ""


@dataclass(frozen=True)
class Project:
    """A directory with what its MLproject declares; without an MLproject it declares nothing."""

    directory: Path
    name: str  # as declared, else the directory's
    file: Path | None = None
    sha256: str | None = None  # of the file
    entry_points: Mapping[str, EntryPoint] = field(default_factory=dict)
    environment: Choice = field(default_factory=Choice)
    everywhere: EntryPoint = field(default_factory=lambda: EntryPoint("", ""))  # holds for undeclared scripts too
    findings: tuple[Finding, ...] = ()  # errors that stop only runs of the entry points they name
