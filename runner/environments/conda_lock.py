"""`mlrun lock` of a conda project: a lock for each platform, beside the MLproject."""

from __future__ import annotations

from runner.environments.locked import LockAsk, Locked, written
from runner.environments.plan import Planned
from runner.errors import EnvironmentBuildError, UsageError
from runner.worker.environment.conda import lockfile, locking
from runner.worker.environment.conda.lockfile import CondaLock
from runner.worker.environment.conda.solving import Wish, solve
from runner.worker.environment.site import Site

_NAMES = {  # Python's names of platforms, and conda's
    "linux-x86_64": "linux-64",
    "macosx-x86_64": "osx-64",
    "macosx-arm64": "osx-arm64",
    "macos-arm64": "osx-arm64",
    "macos-x86_64": "osx-64",
    "linux-arm64": "linux-aarch64",
}
_KNOWN = ("linux-64", "linux-aarch64", "linux-ppc64le", "osx-64", "osx-arm64")


def lock_conda(site: Site, planned: Planned, ask: LockAsk) -> tuple[Locked, ...]:
    """Solve a conda project for this host and for the platforms it has locks for, or for those that are asked for."""
    here = lockfile.host_platform()
    known = locking.platforms_of(site.project, site.wanted) or locking.left_behind(site.project)
    others = tuple(platform for platform in known if platform != here)
    platforms = tuple(map(_platform, ask.platforms)) or (here, *others)
    return written((_lock(site, platform, ask) for platform in platforms), planned.warnings)


def _lock(site: Site, platform: str, ask: LockAsk) -> tuple[Locked, bytes]:
    path = locking.place_for(site.project, site.wanted, platform)
    before = path.read_bytes() if path.is_file() else None
    preferred = None if ask.upgrade else _sound(before)
    lock = solve(site, Wish(platform, preferred, ask.upgrade_packages, ask.python)).lock
    data = lockfile.write(lock)
    count = len(lock.packages) + len(lock.pip_packages)
    return Locked(path, count, lock.python or "", platform, data != before), data


def _sound(data: bytes | None) -> CondaLock | None:
    try:
        return None if data is None else lockfile.read(data)
    except EnvironmentBuildError:
        return None


def _platform(name: str) -> str:
    platform = _NAMES.get(name, name)
    if platform not in _KNOWN:
        message = f"{name!r} is no platform that a conda lock can be made for"
        raise UsageError(message, hint=f"known are {', '.join(_KNOWN)}")
    return platform
