"""Gives a run its environment: the interpreter, the lock, then an environment of the cache or of its own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from runner.errors import EnvironmentBuildError, StoreError
from runner.worker.codec import encode
from runner.worker.environment.cache import shelf
from runner.worker.environment.interpreters import discovery, versions
from runner.worker.environment.interpreters.identity import Interpreters, same, spoken
from runner.worker.environment.interpreters.platforms import Target, there
from runner.worker.environment.locks import locking, project_lock, pylock
from runner.worker.environment.locks.locking import Taken
from runner.worker.environment.locks.resolving import Wish, resolve
from runner.worker.environment.site import Site
from runner.worker.environment.virtualenv.process import Virtualenv
from runner.worker.facts import Gap, InstalledEnvironment, Placement
from runner.worker.files import Json, canonical
from runner.worker.hashing import sha256_of
from runner.worker.libc import libc
from runner.worker.objects import Objects
from runner.worker.spec import EnvironmentSpec, Interpreter, RunSpec
from runner.worker.values import dataclass

if TYPE_CHECKING:
    from runner.worker.environment.nearness import Nearest

_KEY_LENGTH = 32  # hex digits: enough to be one of a kind, and scripts' first lines stay short


def prepare(
    spec: RunSpec,
    placement: Placement,
    objects: Objects,
    project: Path,
    say: Callable[[str], None],
    *,
    scratch: Path,
    installer: Mapping[str, str],
) -> InstalledEnvironment:
    """Return the environment of a run, found or built; EnvironmentBuildError says why there is none.

    ``project`` is the project's directory on this host, ``scratch`` one of this run alone; ``installer`` are
    variables for uv, which may hold credentials: they are used, and written nowhere.
    """
    began = time.monotonic()
    site = Site(spec, placement, objects, project, say, scratch, installer)
    environment = _kinds()[spec.environment.kind](site)
    return replace(environment, seconds=round(time.monotonic() - began, 3))


@dataclass(frozen=True)
class Made:
    """A lock as `mlrun lock` writes it, and whom it is for."""

    data: bytes
    target: Target
    packages: int


@dataclass(frozen=True)
class LockWish:
    """What kind of lock `mlrun lock` asks for."""

    platform: Optional[str] = None  # None: this host's
    python: Optional[str] = None  # None: what the project asks for, as it is found here
    preferred: Callable[[Target], Optional[Path]] = lambda _: None  # an earlier lock, to keep what fits
    upgrade: tuple[str, ...] = ()


def prepare_lock(site: Site, wish: LockWish) -> Made:
    """Return a new lock for a project, for this host or for another platform or Python."""
    interpreter = _resolver(site, wish)
    target = _target(site, wish, interpreter)
    elsewhere = target if wish.platform or wish.python else None
    data = resolve(site, interpreter, Wish(wish.preferred(target), wish.upgrade, elsewhere)).data
    return Made(project_lock.with_header(data, site.wanted, target), target, len(pylock.read(data)))


def _resolver(site: Site, wish: LockWish) -> Interpreter:
    """Return the interpreter that uv asks where it has to build something; for another Python any of this host does."""
    look = site.search
    if wish.platform is None and wish.python is None:
        return look.find(requested(site)).interpreter
    wanted = replace(site.wanted, python=wish.python) if wish.python else requested(site)
    try:
        return replace(look, offline=True).find(wanted).interpreter
    except EnvironmentBuildError:
        default = look.default()
        if default is None:
            raise
        return default


def _target(site: Site, wish: LockWish, interpreter: Interpreter) -> Target:
    version = wish.python or spoken(interpreter)
    asked = site.wanted.python
    if wish.python is None and asked is not None and not discovery.fits(asked, interpreter):
        if not versions.is_exact(asked):
            message = f"no Python here is {asked}, so which one the lock is for has to be said"
            raise EnvironmentBuildError(message, hint="name it: `--python-version 3.11`")
        version = asked
    return there(wish.platform, version) if wish.platform else Target(version, interpreter.platform)


def _kinds() -> Mapping[str, Callable[[Site], InstalledEnvironment]]:
    return {"virtualenv": _virtualenv, "conda": _conda, "container": _container, "host": _host}


def _container(site: Site) -> InstalledEnvironment:
    from runner.worker.environment.container import container

    return container(site)


def _virtualenv(site: Site) -> InstalledEnvironment:
    found = site.search.find(requested(site))
    interpreter = found.interpreter
    with contextlib.closing(Virtualenv(site, interpreter)) as virtualenv:
        taken = locking.take(site, interpreter, virtualenv.get_ready)  # what has no lock has no environment
        key = key_of(site, interpreter, taken)
        environment = _shelved(site, taken, key, _order(site, virtualenv, taken, key))
    return replace(environment, interpreter=interpreter, gaps=(*found.gaps, *taken.gaps, *environment.gaps))


def _conda(site: Site) -> InstalledEnvironment:
    from runner.worker.environment.conda import locking as conda

    taken = conda.take(site)
    key = key_of(site, None, taken)
    environment = _shelved(site, taken, key, _order(site, None, taken, key))
    own = dict(text.partition("=")[::2] for text in site.wanted.variables)
    gaps = (*taken.gaps, *environment.gaps)
    return replace(environment, variables={**environment.variables, **own}, gaps=gaps)


def _shelved(site: Site, taken: Taken, key: str, order: shelf.Order) -> InstalledEnvironment:
    """Take an environment of the cache, built where it is not there."""
    root = _root(site, taken, key)
    try:
        site.scratch.mkdir(parents=True, exist_ok=True)
        environment = shelf.take(root, order, site.say)
    except OSError as error:
        message = f"cannot build an environment in {root}: {error.strerror}"
        raise StoreError(
            message, hint="free some space, or point MLRUN_CACHE at a directory you can write to"
        ) from error
    return replace(environment, lock=taken.known.lock, lock_origin=taken.origin)


def _order(site: Site, virtualenv: Optional[Virtualenv], taken: Taken, key: str) -> shelf.Order:
    made_of = _made_of(site, taken)
    interpreter = None if virtualenv is None else virtualenv.interpreter

    def build_at(prefix: Path) -> shelf.Built:
        if virtualenv is None:
            from runner.worker.environment.conda import build as conda

            return conda.build(site, taken, prefix)
        from runner.worker.environment.virtualenv.build import build  # a warm run builds nothing

        return build(site, virtualenv, taken, prefix)

    def why() -> str:
        from runner.worker.environment.nearness import in_a_line

        return in_a_line(nearest_to(site, interpreter, taken, key))

    return shelf.Order(build_at, why, made_of)


def nearest_to(site: Site, interpreter: Optional[Interpreter], taken: Taken, key: str) -> Optional[Nearest]:
    """Return what of the cache is nearest to an environment that is not there."""
    from runner.worker.environment import nearness

    data, made_of = site.objects.read(taken.known.lock), _made_of(site, taken)
    if interpreter is None:
        from runner.worker.environment.conda.lockfile import recipe_of

        return nearness.nearest(recipe_of(data, made_of), site.cache, key, "conda")
    return nearness.nearest(nearness.of_lock(interpreter, pylock.read(data), made_of), site.cache, key)


def requested(site: Site) -> EnvironmentSpec:
    """Return what is wanted; a project's lock names the Python where the project does not."""
    wanted = site.wanted
    if wanted.python is None and wanted.interpreter is None and wanted.lock is None and not site.placement.upgrade:
        default = site.search.default()
        series = None if default is None else project_lock.series_for(site.project, wanted, default.platform)
        if series is not None and default is not None and not discovery.fits(series, default):
            return replace(wanted, python=series, source=project_lock.PROJECT_LOCK)
    return wanted


def key_of(site: Site, interpreter: Optional[Interpreter], taken: Taken) -> str:
    """Return the key of an environment: what it is made of, and nothing of what was written to ask for it.

    A conda environment has its interpreter among its archives.
    """
    deciding: dict[str, Json] = {
        "interpreter": encode(interpreter and replace(interpreter, path="")),
        "artifacts": taken.known.artifacts,
        **_made_of(site, taken),
    }
    return sha256_of(canonical(deciding))[:_KEY_LENGTH]


def _made_of(site: Site, taken: Taken) -> dict[str, str]:
    """Return what besides interpreter and archives makes an environment what it is."""
    made_of = {"maker": "uv" if site.wanted.manager == "uv" else site.wanted.kind}
    c_library = libc()
    if c_library:
        made_of["libc"] = c_library
    if taken.known.locals:
        made_of["project"] = str(site.project.resolve())
        made_of["locals"] = ", ".join(f"{'-e ' * one.editable}{one.directory}" for one in taken.known.locals)
        files: Json = {file.path: file.sha256 for file in site.wanted.files}
        made_of["files"] = sha256_of(canonical(files))[:_KEY_LENGTH]
        if not all(one.editable for one in taken.known.locals):
            made_of["snapshot"] = site.spec.snapshot.manifest  # a copy is installed: any edit makes another
    return made_of


def _root(site: Site, taken: Taken, key: str) -> Path:
    """Where an environment lies: with the run where it points into the run's own directory."""
    if site.placement.root is None and taken.known.locals:
        return site.scratch / "envs" / key
    return site.cache / "envs" / key


def _host(site: Site) -> InstalledEnvironment:
    gaps = [Gap("environment.lock", "not isolated: the host's own packages are used, which nothing locks")]
    found = discovery.host(Interpreters(site.cache, os.environ), os.environ)
    if found is None:
        gaps.append(Gap("environment.interpreter", "no python is on PATH"))
    pinned, interpreter = site.wanted.interpreter, found[1] if found else None
    if pinned is not None and (interpreter is None or not same(pinned, interpreter)):
        here = interpreter.version if interpreter else "none"
        site.say(f"note: the host's Python is {here}, not the recorded {pinned.version} as it was built")
        gaps.append(Gap("environment.interpreter", f"the recorded run had {pinned.version} ({pinned.build})"))
    return InstalledEnvironment(
        kind="host",
        prefix="",
        bin="",
        interpreter=interpreter,
        why="asked for by --env-manager local",
        gaps=tuple(gaps),
    )
