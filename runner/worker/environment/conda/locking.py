"""The lock of a conda environment: pinned, the project's own, an earlier run's, or solved now, in this order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Optional

from runner.errors import EnvironmentBuildError
from runner.worker.environment.conda import lockfile
from runner.worker.environment.conda.lockfile import PRIORITY, CondaLock
from runner.worker.environment.locks import belonging, locking, sent
from runner.worker.environment.locks.locking import Known, Local, Taken
from runner.worker.environment.site import Site
from runner.worker.facts import Gap
from runner.worker.files import Json
from runner.worker.libc import libc
from runner.worker.spec import EnvironmentSpec
from runner.worker.values import dataclass

_OVERRIDES = "CONDA_OVERRIDE_"
_START, _END = "condalock.mlrun", ".json"


@dataclass(frozen=True)
class Committed:
    """A lock that lies in a project."""

    name: str
    word: str  # what its name has for its environment; "" for the first one that was locked
    platform: str
    data: bytes
    lock: CondaLock

    def is_of(self, wanted: EnvironmentSpec) -> bool:
        """Whether it was made for an environment, stale or not: entry points may have environments of their own."""
        return belonging.is_of(self.lock, wanted)

    def is_left_behind(self, project: Path) -> bool:
        """Whether the file that asked for its environment is gone."""
        return belonging.is_left_behind(self.lock.source, project)


def project_lock(platform: str, word: str = "") -> str:
    """Return the name of the lock that `mlrun lock` writes into a project, for a platform."""
    return f"{_START}{word}.{platform}{_END}"


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
        return Taken(_known_of(site, site.objects.add(own.data), own.name), "project")
    return locking.remembered(site, asked(site))


def own_lock(site: Site) -> Optional[Committed]:
    """Return the lock that `mlrun lock` left in the project for this host's platform, None where there is none."""
    here = lockfile.host_platform()
    found = fresh_locks_of(site.project, site.wanted, here)
    if here in found:
        return found[here]
    others = platforms_of(site.project, site.wanted)
    if others:
        site.say(f"note: the project has a lock for {', '.join(others)}, and none for {here}: solved anew")
    return None


def platforms_of(project: Path, wanted: EnvironmentSpec) -> tuple[str, ...]:
    """Return the platforms that a project has locks of an environment for."""
    return tuple(sorted({one.platform for one in _committed(project, damaged=False) if one.is_of(wanted)}))


def names_of(project: Path, wanted: EnvironmentSpec) -> tuple[str, ...]:
    """Return the names of the locks that a project has of an environment."""
    return tuple(one.name for one in _committed(project, damaged=False) if one.is_of(wanted))


def left_behind(project: Path) -> tuple[str, ...]:
    """Return the platforms of the locks whose environment file is gone: it may have another name now."""
    return tuple(sorted({one.platform for one in _committed(project, damaged=False) if one.is_left_behind(project)}))


def place_for(project: Path, wanted: EnvironmentSpec, platform: str) -> Path:
    """Return where the lock of an environment lies or belongs; no other one's is written over.

    The plain name is for the first environment that is locked; one whose file is gone makes room.
    """
    found = [one for one in _committed(project, damaged=False) if one.is_of(wanted) or not one.is_left_behind(project)]
    mine = [one for one in found if one.is_of(wanted)]
    is_plain_taken = any(not one.word for one in found if one not in mine)
    words = [*(one.word for one in mine), *([] if is_plain_taken else [""]), *belonging.words_of(wanted)]
    others = {one.name for one in found if one not in mine}
    for word in words:
        if project_lock(platform, word) not in others:
            return project / project_lock(platform, word)
    raise belonging.no_room(wanted, sorted(others))


def fresh_locks_of(project: Path, wanted: EnvironmentSpec, *platforms: str) -> "dict[str, Committed]":
    """Return an environment's locks in its project, by platform.

    EnvironmentBuildError where the environment files have changed since, or where only others are locked.
    """
    found = [one for platform in platforms or ("*",) for one in _committed(project, platform)]
    mine = [one for one in found if one.is_of(wanted)]
    if found and not mine and not platforms_of(project, wanted):
        raise belonging.of_another(found[0].name, found[0].lock.source, wanted)
    for one in mine:
        belonging.expect_fresh(one.name, one.lock, wanted)
    return {one.platform: one for one in mine}


def _committed(project: Path, platform: str = "*", *, damaged: bool = True) -> "Iterator[Committed]":
    """Yield the locks that lie in a project, the plain name first; a damaged one is an error, or left out."""
    for path in sorted(project.glob(project_lock(platform, "*")), key=lambda path: (len(path.name), path.name)):
        word, _, subdir = path.name[len(_START) : -len(_END)].rpartition(".")
        if word[:1] not in ("", "-"):
            continue
        try:
            data = path.read_bytes()
            yield Committed(path.name, word, subdir, data, lockfile.read(data, path.name))
        except OSError as error:
            message = f"cannot read {path}: {error.strerror}"
            raise EnvironmentBuildError(message) from error
        except EnvironmentBuildError:
            if damaged:
                raise


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
