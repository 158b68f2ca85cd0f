"""The environments of the cache as a user asks about them: who uses them, why one was built, which may go."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from runner import planning
from runner.environments.plan import plan
from runner.errors import MlrunError, StoreError
from runner.flow.ask import Say
from runner.flow.prepare import find_uv
from runner.project.load import find_entry_point, load
from runner.store.store import Store
from runner.worker.environment import nearness, upkeep
from runner.worker.environment.cache.shelf import look as look_at
from runner.worker.environment.cache.slot import Marker, Slot, Use
from runner.worker.environment.explain import Explanation, explain
from runner.worker.environment.nearness import Nearest
from runner.worker.environment.site import Site
from runner.worker.environment.upkeep import Pruned, Shelved, remove, shelved
from runner.worker.facts import InstalledEnvironment, Placement
from runner.worker.look import look
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec, Snapshot
from runner.worker.values import dataclass


@dataclass(frozen=True)
class PastExplanation:
    """Why the environment of a run was built or reused, and what has become of it."""

    run: str
    environment: InstalledEnvironment | None  # None: the run ended before it had one
    why: str
    now: str  # ready, gone, or what is wrong with it; "" where there is nothing in the cache to look at
    nearest: Nearest | None = None  # of the others that are in the cache now


def running(one: Shelved, store: Store) -> tuple[Use, ...]:
    """Return the runs of this store that use an environment at this moment."""
    return tuple(use for use in one.uses if _goes_on(store.directory(use.run))) if one.held else ()


def find(cache: Path, text: str) -> Shelved:
    """Return the environment whose key begins as given; StoreError where there is none, or several."""
    found = [one for one in shelved(cache) if one.key.startswith(text)] if text else []
    if len(found) == 1:
        return found[0]
    message = f"{len(found) or 'no'} environments of the cache answer to {text!r}"
    raise StoreError(message, hint=f"`mlrun env list` shows them all{'; give more of the key' * bool(found)}")


def discard(one: Shelved, store: Store) -> None:
    """Remove an environment; StoreError where a run holds it."""
    if remove(store.cache, one.key):
        return
    who = ", ".join(f"{use.project} {use.run[-8:]}" for use in running(one, store))
    message = f"the environment {one.key[:8]} is in use{f' by {who}' if who else ''}"
    raise StoreError(message, hint="wait for the run, or `mlrun cancel` it; then remove the environment")


def prune(store: Store, *, unused_for: float | None, keep: int | None, dry_run: bool) -> Pruned:
    """Remove what the cache holds and no run needs, as `upkeep.prune` has it; what runs that go on read is left."""
    return upkeep.prune(store.cache, unused_for=unused_for, keep=keep, dry_run=dry_run, read=_read_by_runs(store))


def _read_by_runs(store: Store) -> Iterator[str]:
    """Yield where the inputs of the runs that go on lie on this machine."""
    for run in store.runs():
        if not run.has(Outcome):
            with suppress(MlrunError):
                placement = run.find(Placement)
                yield from () if placement is None else placement.inputs.values()


def explain_project(
    directory: Path, store: Store, say: Say, *, entry_point: str | None = None, manager: str | None = None
) -> Explanation:
    """Return what a run of a project would get, and why; nothing is resolved, built or written into the project."""
    project = load(directory)
    choice = project.environment
    if entry_point is not None:
        choice = planning.choice_of(project, find_entry_point(project, entry_point))
    planned = plan(directory, choice, manager=manager, caller_environ={**choice.blank, **os.environ})
    spec = RunSpec("", "", (), "", Snapshot("", "directory"), planned.spec)
    root = os.fspath(directory.absolute())
    placement = Placement(
        store=str(store.root), cache=str(store.cache), root=root, uv=find_uv(), python=sys.executable, offline=True
    )
    with store.writing(), tempfile.TemporaryDirectory(prefix="mlrun-why-") as scratch:
        site = Site(spec, placement, store.objects, Path(root), say, Path(scratch), planned.installer)
        return explain(site)


def explain_run(run: RunDirectory, store: Store) -> PastExplanation:
    """Return why a past run's environment was built or reused."""
    installed = run.find(InstalledEnvironment)
    if installed is None:
        outcome = run.find(Outcome)
        reason = outcome.error.message if outcome is not None and outcome.error is not None else "it is not ready yet"
        return PastExplanation(run.id, None, reason, "")
    if installed.key is None or not Path(installed.prefix).is_relative_to(store.cache):
        return PastExplanation(run.id, installed, installed.why, "")
    slot = Slot(store.cache / "envs" / installed.key)
    marker, fault = look_at(slot)
    made_of = marker.made_of if isinstance(marker, Marker) else {}
    recipe = nearness.of_installed(installed, made_of)
    nearest = nearness.nearest(recipe, store.cache, slot.key, installed.kind)
    now = fault or ("ready" if marker is not None else "gone")
    return PastExplanation(run.id, installed, installed.why, now, nearest)


def _goes_on(run: RunDirectory) -> bool:
    return run.path.is_dir() and not look(run).ended
