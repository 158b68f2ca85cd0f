"""Lock a project's environment into the project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from runner import planning
from runner.environments.lock import lock
from runner.environments.locked import LockAsk, Locked
from runner.flow.ask import Say
from runner.flow.prepare import find_uv
from runner.project.load import find_entry_point, load
from runner.store.store import Store
from runner.worker.facts import Placement


def lock_project(
    directory: Path, store: Store, say: Say, ask: LockAsk, *, entry_point: str | None = None
) -> tuple[Locked, ...]:
    """Write the locks of a project, or of one of its entry points that has an environment of its own."""
    project = load(directory)
    choice = project.environment
    if entry_point is not None:
        choice = planning.choice_of(project, find_entry_point(project, entry_point))
    placement = Placement(store=str(store.root), cache=str(store.cache), uv=find_uv(), python=sys.executable)
    with store.writing():
        return lock(
            directory,
            choice,
            ask,
            placement=placement,
            objects=store.objects,
            caller_environ=os.environ,
            say=say,
        )
