"""The lock of a conda environment: pinned, the project's own, an earlier run's, or solved now, in this order."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Optional

from runner.errors import EnvironmentBuildError
from runner.worker.environment.conda import lockfile
from runner.worker.environment.conda.lockfile import PRIORITY, CondaLock
from runner.worker.environment.locks import locking, sent
from runner.worker.environment.locks.locking import Known, Local, Taken
from runner.worker.environment.locks.project_lock import specification
from runner.worker.environment.site import Site
from runner.worker.facts import Gap
from runner.worker.files import Json
from runner.worker.libc import libc
from runner.worker.spec import EnvironmentSpec

_OVERRIDES = "CONDA_OVERRIDE_"


def project_lock(platform: str) -> str:
    """Return the name of the lock that `mlrun lock` writes into a project, for a platform."""
    return f"condalock.mlrun.{platform}.json"


def take(site: Site) -> Taken:
    """Return the lock of a run, solved where none is known."""
    found = known(site)
    if found is not None:
        return found
    gaps: list[Gap] = []

    def solved() -> Known:
        from runner.worker.environment.conda.solving import Wish, solve  # a warm run solves nothing

        done = solve(site, Wish(preferred=_preferred(site), upgrade=site.placement.upgrade_packages))
        gaps.extend(done.gaps)
        data = lockfile.write(done.lock)
        return _digested(site.objects.add(data), data)

    taken = locking.resolved(site, asked(site), solved)
    sent.note(site, question(site), lockfile.host_platform(), taken.known.lock)
    return replace(taken, gaps=tuple(gaps))


def _preferred(site: Site) -> Optional[CondaLock]:
    """Return the lock of which a solution keeps what fits: it stands here, or came with the run from another machine.

    Another machine's is none to take as it is: it may have a newer C library, or another driver of its GPUs.
    """
    if site.placement.upgrade_packages:
        standing = _standing(site)
        lock = None if standing is None else standing.known.lock
    else:
        lock = None if site.placement.upgrade else site.placement.locks.get(lockfile.host_platform())
        if lock is not None:
            site.say("the versions of the machine that sent the run are kept, as far as they fit this one")
    return None if lock is None else lockfile.read(locking.bytes_of(site, lock))


def known(site: Site) -> Optional[Taken]:
    """Return the lock of a run, None where it has to be solved."""
    if site.wanted.lock is not None:
        return Taken(_known_of(site, site.wanted.lock, "the recorded lock"), "pinned")
    return None if site.placement.upgrade_packages else _standing(site)


def _standing(site: Site) -> Optional[Taken]:
    """Return the lock that the project or an earlier run has left."""
    own = None if site.placement.upgrade else own_lock(site)
    if own is not None:
        return Taken(_known_of(site, site.objects.add(own), project_lock(lockfile.host_platform())), "project")
    return locking.remembered(site, asked(site))


def own_lock(site: Site) -> Optional[bytes]:
    """Return the lock that `mlrun lock` left in the project for this host's platform, None where there is none."""
    here = lockfile.host_platform()
    found = fresh_locks_of(site.project, site.wanted, here)
    if here in found:
        return found[here]
    others = platforms_of(site.project)
    if others:
        site.say(f"note: the project has a lock for {', '.join(others)}, and none for {here}: solved anew")
    return None


def platforms_of(project: Path) -> tuple[str, ...]:
    """Return the platforms that a project has locks for."""
    start, end = project_lock("*").split("*")
    return tuple(sorted(path.name[len(start) : -len(end)] for path in project.glob(project_lock("*"))))


def fresh_locks_of(project: Path, wanted: EnvironmentSpec, *platforms: str) -> "dict[str, bytes]":
    """Return a project's locks; EnvironmentBuildError where the environment files have changed since."""
    found = {}
    for platform in platforms or platforms_of(project):
        name = project_lock(platform)
        try:
            data = (project / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            message = f"cannot read {project / name}: {error.strerror}"
            raise EnvironmentBuildError(message) from error
        lock = lockfile.read(data, name)
        if lock.specification != specification(wanted):
            raise _other_lock(name, lock, wanted)
        found[platform] = data
    return found


def _other_lock(name: str, lock: CondaLock, wanted: EnvironmentSpec) -> EnvironmentBuildError:
    if lock.source not in ("", wanted.source):  # entry points may have environments of their own
        message = f"{name} is for the environment of {lock.source}, and this one is of {wanted.source}"
        hint = "`mlrun lock` makes it for this one (`-e NAME`: an entry point's); `--upgrade` runs without it, once"
    else:
        message = f"{name} is stale: the environment files have changed since `mlrun lock` wrote it"
        hint = "`mlrun lock` brings it up to date; `--upgrade` runs without it, once"
    return EnvironmentBuildError(message, hint=hint)


def asked(site: Site) -> dict[str, str]:
    """Return the question that a lock answers, part by part; what changes by itself, as channels do, is none of it."""
    parts = {**question(site), "platform": lockfile.host_platform(), "libc": libc()}
    parts.update({name: value for name, value in os.environ.items() if name.startswith(_OVERRIDES)})
    return parts


def question(site: Site) -> dict[str, str]:
    """Return the parts of the question that are the same on every machine."""
    wanted = site.wanted
    return {
        **locking.common(site),
        "channels": "\n".join(wanted.channels),
        "conda dependencies": "\n".join(wanted.packages),
        "channel priority": wanted.channel_priority or PRIORITY,
    }


def _known_of(site: Site, lock: str, where: str) -> Known:
    key: Json = {"lock": lock, "kind": "conda"}
    return locking.understood(site, key, lambda: _digested(lock, locking.bytes_of(site, lock), where))


def _digested(lock: str, data: bytes, where: str = "the lock") -> Known:
    found = lockfile.read(data, where)
    here = lockfile.host_platform()
    if found.platform != here:
        message = f"{where} is for {found.platform}, and this host is {here}"
        raise EnvironmentBuildError(message, hint="`mlrun run` of the project solves it anew for this host")
    pip = found.pip_packages
    locals_ = tuple(Local(one.name, one.directory, one.editable) for one in pip if one.directory is not None)
    return Known(lock, found.artifacts, len(found.packages) + len(pip), locals_)
