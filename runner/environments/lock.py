"""`mlrun lock`: writes the locks of a project into the project, to be committed and used from then on."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from runner.environments.choice import Choice
from runner.environments.locked import LockAsk, Locked, written
from runner.environments.plan import plan
from runner.errors import EnvironmentBuildError, ProjectError, UsageError
from runner.worker.environment.interpreters import versions
from runner.worker.environment.interpreters.platforms import Target
from runner.worker.environment.locks import project_lock, pylock
from runner.worker.environment.locks.project_lock import ProjectLock
from runner.worker.environment.prepare import LockWish, prepare_lock
from runner.worker.environment.site import Site
from runner.worker.facts import Placement
from runner.worker.objects import Objects
from runner.worker.spec import EnvironmentSpec, RunSpec, Snapshot

_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?(?:(?:a|b|rc)\d+)?")
_FOREIGN = ("uv.lock", "pylock.toml")


def lock(
    project: Path,
    choice: Choice,
    ask: LockAsk,
    *,
    placement: Placement,
    objects: Objects,
    caller_environ: Mapping[str, str],
    say: Callable[[str], None],
) -> tuple[Locked, ...]:
    """Resolve a project's environment and write its locks beside its MLproject, the first for what was asked first.

    Versions of an earlier lock are kept where they still fit, unless ``upgrade``. ProjectError where the project has
    nothing to lock, or a lock of another tool; EnvironmentBuildError where it cannot be resolved.
    """
    planned = plan(project, choice, manager=ask.manager, caller_environ={**choice.blank, **caller_environ})
    planned.expect_set()
    if planned.spec.kind == "container":
        from runner.environments.image_lock import lock_image

        upgrade = ask.upgrade
        return (lock_image(project, planned.spec, placement=placement, objects=objects, say=say, upgrade=upgrade),)
    _expect_lockable(planned.spec.kind, planned.spec.source)
    if planned.spec.kind == "virtualenv":
        _expect_version(ask.python)
    installer = dict(planned.installer)
    if ask.exclude_newer is not None:
        installer["UV_EXCLUDE_NEWER"] = ask.exclude_newer
    standing = _standing(project, planned.spec)
    spec = RunSpec("", "", (), "", Snapshot("", "directory"), planned.spec)
    # a sound lock keeps its Python, even for newer packages
    placement = replace(placement, upgrade=standing is None)
    wishes = [LockWish(platform, ask.python) for platform in ask.platforms or (None,)]
    with tempfile.TemporaryDirectory(prefix="mlrun-lock-") as scratch:
        site = Site(spec, placement, objects, project.absolute(), say, Path(scratch), installer)
        if planned.spec.kind == "conda":
            from runner.environments.conda_lock import lock_conda

            return lock_conda(site, planned, ask)
        made = [_lock(site, wish, ask, standing) for wish in wishes]
        others = () if ask.platforms or ask.python else _others(standing, made[0][0])
        made += [_lock(site, wish, ask, standing) for wish in others]
    return written(made, planned.warnings)


def _lock(site: Site, wish: LockWish, ask: LockAsk, standing: tuple[ProjectLock, ...] | None) -> tuple[Locked, bytes]:
    def preferred(target: Target) -> Path | None:
        if ask.upgrade or not standing:
            return None
        # its own earlier one, else any: the versions of one project should not differ more than they have to
        own = [one for one in standing if one.serves(target.python, target.platform)]
        chosen = next((one for one in (*own, *standing) if _is_whole(one)), None)
        if chosen is None:
            return None
        path = site.scratch / "pylock.preferred.toml"
        path.write_bytes(chosen.data)
        return path

    made = prepare_lock(site, replace(wish, preferred=preferred, upgrade=ask.upgrade_packages))
    at_home = wish.platform is None and wish.python is None
    path = project_lock.place_for(site.project, site.wanted, made.target, host=at_home)
    before = path.read_bytes() if path.is_file() else None
    return Locked(path, made.packages, made.target.python, made.target.platform, made.data != before), made.data


def _is_whole(one: ProjectLock) -> bool:
    try:
        pylock.read(one.data)
    except EnvironmentBuildError:
        return False
    return True


def _standing(project: Path, wanted: EnvironmentSpec) -> tuple[ProjectLock, ...] | None:
    """Return the locks that lie in the project for an environment; None where one is damaged: made from nothing.

    Where its file has a new name, those are its locks that name a file which is gone.
    """
    try:
        found = project_lock.all_of(project)
    except EnvironmentBuildError:
        return None
    mine = tuple(one for one in found if one.is_of(wanted))
    return mine or tuple(one for one in found if one.is_left_behind(project))


def _others(standing: tuple[ProjectLock, ...] | None, done: Locked) -> tuple[LockWish, ...]:
    """Return what the other locks are for: they would be stale where this host's is renewed alone."""
    others = [one.header for one in standing or () if not one.serves(done.python, done.platform)]
    return tuple(LockWish(*target) for target in dict.fromkeys((one.platform, one.python) for one in others))


def _expect_version(python: str | None) -> None:
    if python is not None and (_VERSION.fullmatch(python) is None or versions.too_old(python)):
        message = f"--python-version {python!r}: a version of CPython is expected, from 3.6 on"
        hint = "write 3.12 or 3.12.1; for PyPy and free-threaded builds a lock is made on a machine that has them"
        raise UsageError(message, hint=hint)


def _expect_lockable(kind: str, source: str) -> None:
    if kind not in ("virtualenv", "conda"):
        message = f"a {kind} environment has no lock that `mlrun lock` could write"
        raise ProjectError(message, hint="`--env-manager virtualenv` takes what the project's files say")
    if source in _FOREIGN:
        message = f"the project's {source} is a lock already, and is used as it is"
        raise ProjectError(message, hint="`uv lock` renews a uv.lock; `uv pip compile` makes a pylock.toml anew")
