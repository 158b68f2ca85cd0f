"""The outputs of a run, found again: in the object store, in its directory, or where an in-place run left them."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from runner.errors import IntegrityError, MlrunError
from runner.flow.away import ticket_of
from runner.flow.follow import refresh
from runner.store.store import Store
from runner.worker.execution import artifacts
from runner.worker.facts import Placement
from runner.worker.hashing import sha256_of_file
from runner.worker.objects import clone_or_copy
from runner.worker.results import FileFact
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec


def going_on(run: RunDirectory, store: Store) -> str:
    """Return the state of a run that has not ended; "" for one that has, whose results are brought here first."""
    if run.record.exists():
        return ""
    state = refresh(store, [run], bring=True).get(run.id)
    return "" if state is None or state.ended else state.name


def outputs_of(run: RunDirectory, path: str | None = None, *, state: str = "") -> tuple[FileFact, ...]:
    """Return a run's outputs, or those at or under ``path``; MlrunError where there is none of that name.

    An artifact may be named as it was logged, without the `artifacts/` before it, and a model by its name. Of a run
    that goes on (in the ``state`` named), or whose worker was killed, the artifacts logged so far.
    """
    files = run.read_files(run.outputs)
    outputs = artifacts.so_far(run) if files is None else files.files
    if path is None:
        return outputs
    wanted = path.rstrip("/")
    logged = run.artifacts.name
    places = (wanted, f"{logged}/{wanted}", f"{logged}/models/{wanted}")
    found: tuple[FileFact, ...] = ()
    for place in places:
        found = found or _under(outputs, place)
    if not found:
        if state:
            message = f"the run {run.id} is {state}: no output {path!r} of it is known yet"
            raise MlrunError(message, hint=f"`mlrun wait {run.id}` waits for its end")
        message = f"the run {run.id} has no output {path!r}"
        raise MlrunError(message, hint=f"`mlrun artifacts {run.id}` lists what it has")
    return found


def _under(outputs: Sequence[FileFact], wanted: str) -> tuple[FileFact, ...]:
    return tuple(item for item in outputs if item.path == wanted or item.path.startswith(f"{wanted}/"))


def bring_out(outputs: Sequence[FileFact], store: Store, run: RunDirectory, target: Path) -> list[Path]:
    """Write outputs under ``target``, each checked by its digest; an existing file is never overwritten."""
    links = {item.path for item in outputs if stat.S_ISLNK(item.mode)}
    if any(str(parent) in links for item in outputs for parent in PurePosixPath(item.path).parents):
        message = "an output lies behind a link that is an output itself"
        raise IntegrityError(message, hint="the run directory was tampered with")
    goals = [(item, _goal(target, item)) for item in outputs]
    for _, goal in goals:
        if goal.exists() or goal.is_symlink():
            message = f"{goal} is there already"
            raise MlrunError(message, hint="name another directory with -o, or move that file away")
    for item, goal in goals:
        goal.parent.mkdir(parents=True, exist_ok=True)
        write(item, store, run, goal)
    return [goal for _, goal in goals]


def is_whole(item: FileFact, store: Store, run: RunDirectory) -> bool:
    """Whether the bytes of an output are still there, in the store or where an in-place run left them."""
    return _place_of(item, store, run) is not None


def bring_back(item: FileFact, store: Store, run: RunDirectory, goal: Path) -> None:
    """Write an output to the place where a run would have left it, over what is there; nothing where it is the same."""
    if item.sha256 is None:
        return
    if goal.is_file() and not goal.is_symlink() and sha256_of_file(goal) == item.sha256:
        goal.chmod(item.mode & 0o777)
        return
    goal.parent.mkdir(parents=True, exist_ok=True)
    aside = goal.with_name(f".{goal.name[:100]}.mlrun-{os.getpid()}")
    try:
        write(item, store, run, aside)
        aside.chmod(item.mode & 0o777)
        aside.replace(goal)
    finally:
        aside.unlink(missing_ok=True)


def _place_of(item: FileFact, store: Store, run: RunDirectory) -> Path | None:
    if item.sha256 is None:
        return None
    kept = [store.objects.path(item.sha256)] if store.objects.has(item.sha256) else []
    return next((p for p in [*kept, *_places(item, run)] if p.is_file() and sha256_of_file(p) == item.sha256), None)


def _goal(target: Path, item: FileFact) -> Path:
    path = item.path.lstrip("/")
    if ".." in path.split("/"):
        message = f"the output {item.path!r} would leave {target}"
        raise IntegrityError(message, hint="the run directory was tampered with")
    return target / path


def write(item: FileFact, store: Store, run: RunDirectory, goal: Path) -> None:
    """Make a file of an output's bytes, checked by its digest; IntegrityError where they are kept nowhere."""
    if item.sha256 is not None and store.objects.has(item.sha256):
        if stat.S_ISLNK(item.mode):
            goal.symlink_to(os.fsdecode(store.objects.read(item.sha256)))
            return
        store.objects.copy_to(item.sha256, goal, item.mode)
        return
    for place in _places(item, run):
        if place.is_file() and item.sha256 is not None and sha256_of_file(place) == item.sha256:
            clone_or_copy(place, goal)
            return
    if item.stored and ticket_of(run) is not None:
        message = f"the bytes of {item.path!r} are on the machine that carried the run out"
        raise IntegrityError(message, hint=f"`mlrun fetch {run.id}` brings them")
    message = f"the bytes of {item.path!r} are kept nowhere"
    raise IntegrityError(message, hint="declare it under `outputs:` in the MLproject, and later runs keep it")


def _places(item: FileFact, run: RunDirectory) -> list[Path]:
    spec, placement = run.read(RunSpec), run.find(Placement)
    roots = [run.work]
    if item.basis == artifacts.LOGGED:
        return [run.path / item.path]
    if placement is not None and placement.root is not None:
        roots.append(Path(placement.root))
    return [Path(os.path.normpath(root / spec.snapshot.subdirectory / item.path)) for root in roots]
