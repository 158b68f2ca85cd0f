"""`mlrun lock`: writes the lock of a project into the project, to be committed and used from then on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from runner.environments.choice import Choice
from runner.environments.plan import plan
from runner.errors import EnvironmentBuildError, ProjectError, StoreError
from runner.worker.environment import locking
from runner.worker.environment.prepare import prepare_lock
from runner.worker.facts import Placement
from runner.worker.files import replace as rewrite
from runner.worker.objects import Objects
from runner.worker.values import dataclass

_FOREIGN = ("uv.lock", "pylock.toml")


@dataclass(frozen=True)
class Locked:
    """The lock that was written, or left because nothing has changed."""

    path: Path
    packages: int
    python: str  # the version it is for
    platform: str
    changed: bool
    warnings: tuple[str, ...] = ()


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
    planned = plan(project, choice, manager=manager, caller_environ=caller_environ)
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
        _write(path, made.data)
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


def _write(path: Path, data: bytes) -> None:
    try:
        rewrite(path, data, mode=0o644)
    except StoreError as error:
        raise ProjectError(error.message, hint="`mlrun lock` writes into the project: see that you may") from error
