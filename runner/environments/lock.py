"""`mlrun lock`: writes the lock of a project into the project, to be committed and used from then on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from runner.environments.choice import Choice
from runner.environments.locked import Locked, write
from runner.environments.plan import plan
from runner.errors import EnvironmentBuildError, ProjectError
from runner.worker.environment import locking
from runner.worker.environment.prepare import prepare_lock
from runner.worker.facts import Placement
from runner.worker.objects import Objects

_FOREIGN = ("uv.lock", "pylock.toml")


def lock(  # noqa: PLR0913
    project: Path,
    choice: Choice,
    *,
    placement: Placement,
    objects: Objects,
    caller_environ: Mapping[str, str],
    say: Callable[[str], None],
    manager: str | None = None,
    upgrade: bool = False,
) -> Locked:
    """Resolve a project's environment and write the lock beside its MLproject.

    Versions of an earlier lock are kept where they still fit, unless ``upgrade``. ProjectError where the project has
    nothing to lock, or a lock of another tool; EnvironmentBuildError where it cannot be resolved.
    """
    # What a container copies from the caller is asked for when it runs, not here.
    environ = {**dict.fromkeys((name for name, _ in choice.variables), ""), **caller_environ}
    planned = plan(project, choice, manager=manager, caller_environ=environ)
    if planned.spec.kind == "container":
        from runner.environments.image_lock import lock_image

        return lock_image(project, planned.spec, placement=placement, objects=objects, say=say, upgrade=upgrade)
    _expect_lockable(planned.spec.kind, planned.spec.source)
    path = project / locking.PROJECT_LOCK
    before = path.read_bytes() if path.is_file() else None
    sound = _is_sound(project)
    with tempfile.TemporaryDirectory(prefix="mlrun-lock-") as scratch:
        preferred = None
        if before is not None and sound and not upgrade:
            preferred = Path(scratch) / "pylock.preferred.toml"
            preferred.write_bytes(before)
        made = prepare_lock(
            planned.spec,
            replace(placement, upgrade=not sound),  # a sound lock keeps its Python, even for newer packages
            objects,
            project.absolute(),
            say,
            scratch=Path(scratch),
            installer=planned.installer,
            preferred=preferred,
        )
    if made.data != before:
        write(path, made.data)
    interpreter = made.interpreter
    return Locked(path, made.packages, interpreter.version, interpreter.platform, made.data != before, planned.warnings)


def _expect_lockable(kind: str, source: str) -> None:
    if kind != "virtualenv":
        message = f"a {kind} environment has no lock that `mlrun lock` could write"
        raise ProjectError(
            message, hint="`--env-manager virtualenv` makes one of a conda.yaml's Python and pip packages"
        )
    if source in _FOREIGN:
        message = f"the project's {source} is a lock already, and is used as it is"
        raise ProjectError(message, hint="`uv lock` renews a uv.lock; `uv pip compile` makes a pylock.toml anew")


def _is_sound(project: Path) -> bool:
    try:
        locking.header_of(project)
    except EnvironmentBuildError:
        return False
    return True
