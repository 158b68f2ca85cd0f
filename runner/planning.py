"""From a project, the values given to it, a snapshot and an environment to the RunSpec; no disk, clock or network."""

from __future__ import annotations

import posixpath

from runner.environments.choice import Choice
from runner.errors import ProjectError
from runner.project.model import EntryPoint, Project
from runner.project.parameters import Resolved
from runner.worker.command import render
from runner.worker.spec import EnvironmentSpec, RunSpec, Snapshot


def plan(
    project: Project, entry: EntryPoint, resolved: Resolved, snapshot: Snapshot, environment: EnvironmentSpec
) -> RunSpec:
    """Return the spec of a run; ProjectError where the command cannot be rendered with these parameters."""
    render(entry.command, resolved.parameters, {})
    return RunSpec(
        project=project.name,
        entry_point=entry.name,
        parameters=resolved.parameters,
        command=entry.command,
        snapshot=snapshot,
        environment=environment,
        inputs=resolved.inputs,
        outputs=entry.outputs,
        metrics=entry.metrics,
        resources=entry.resources,
        environ=dict(entry.environ),
        secrets=entry.secrets,
        strict_shell=entry.strict_shell,
    )


def choice_of(project: Project, entry: EntryPoint) -> Choice:
    """Return what names the environment of an entry point: its own key, else the project's."""
    return project.environment if entry.environment is None else entry.environment


def refuse_inputs_outside(spec: RunSpec) -> None:
    """Raise ProjectError where an input cannot be brought into a fresh directory: it lies beside the snapshot."""
    for each in spec.inputs:
        place = posixpath.normpath(posixpath.join(spec.snapshot.subdirectory, each.path))
        if place == ".." or place.startswith("../"):
            message = f"the input {each.path!r} lies outside the project, and a fresh directory has no such place"
            raise ProjectError(message, hint="name it by its absolute path, or make it a `path` parameter")
