"""The lock of a conda environment: pinned, the project's own, an earlier run's, or solved now, in this order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from runner.errors import EnvironmentBuildError
from runner.worker.codec import decode, encode
from runner.worker.environment import locking
from runner.worker.environment.conda import lockfile, program, rattler
from runner.worker.environment.conda.lockfile import CondaLock, CondaPackage
from runner.worker.environment.installed import distributions
from runner.worker.environment.locking import Known, Local, Taken
from runner.worker.environment.pylock import normalised
from runner.worker.environment.site import Site
from runner.worker.files import Json
from runner.worker.spec import EnvironmentSpec

_PRIORITY = "flexible"  # conda's own
_OVERRIDES = "CONDA_OVERRIDE_"


def project_lock(platform: str) -> str:
    """Return the name of the lock that `mlrun lock` writes into a project, for a platform."""
    return f"condalock.mlrun.{platform}.json"


def take(site: Site) -> Taken:
    """Return the lock of a run, solved where none is known."""
    found = known(site)
    if found is not None:
        return found

    def solve() -> Known:
        data = lockfile.write(resolve(site))
        return _digested(site.objects.add(data), data)

    return locking.resolved(site, asked(site), solve)


def known(site: Site) -> Optional[Taken]:
    """Return the lock of a run, None where it has to be solved."""
    if site.wanted.lock is not None:
        return Taken(_known_of(site, site.wanted.lock, "the recorded lock"), "pinned")
    own = None if site.placement.upgrade else own_lock(site)
    if own is not None:
        return Taken(_known_of(site, site.objects.add(own), project_lock(lockfile.host_platform())), "project")
    return locking.remembered(site, asked(site))


def own_lock(site: Site) -> Optional[bytes]:
    """Return the lock that `mlrun lock` left in the project for this host's platform, None where there is none."""
    name = project_lock(lockfile.host_platform())
    found = valid_lock_of(site.project, name, site.wanted)
    if found is None:
        others = sorted(path.name for path in site.project.glob(project_lock("*")))
        if others:
            site.say(f"{', '.join(others)} is for another platform; there is no {name}: solved anew")
        return None
    return found[1]


def valid_lock_of(project: Path, name: str, wanted: EnvironmentSpec) -> Optional[tuple[CondaLock, bytes]]:
    """Return a project's lock and its bytes; EnvironmentBuildError where the environment files have changed since."""
    try:
        data = (project / name).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"cannot read {project / name}: {error.strerror}"
        raise EnvironmentBuildError(message) from error
    lock = lockfile.read(data, name)
    if lock.specification != locking.specification(wanted):
        message = f"{name} is stale: the environment files have changed since `mlrun lock` wrote it"
        raise EnvironmentBuildError(
            message, hint="`mlrun lock` brings it up to date; `--upgrade` runs without it, once"
        )
    return lock, data


def resolve(site: Site, preferred: Iterable[CondaPackage] = (), preferred_pip: str = "") -> CondaLock:
    """Solve the channels' packages, then what pip adds to them; packages preferred are kept where they can be."""
    wanted, platform = site.wanted, lockfile.host_platform()
    specs = list(wanted.packages)
    if wanted.requirements and not any(_name_of(spec) == "python" for spec in specs):
        specs.append("python")  # pip's part needs one, as it does for conda
    own = program.of(site)
    by = own.name if own else f"{rattler.NAME} {rattler.VERSION}"
    site.say(f"solving {wanted.source or 'the conda packages'} with {by} for {platform}")
    if own is not None:
        packages, virtual, brought = _solved_by(site, own, specs)
    else:
        packages, virtual = _solved(site, specs, preferred)
        brought = None
    lock = CondaLock(
        platform=platform,
        packages=packages,
        channels=wanted.channels,
        virtual=virtual,
        specification=locking.specification(wanted),
    )
    if not wanted.requirements:
        return lock
    from runner.worker.environment.conda import pip

    return pip.resolve(site, lock, pip.brought_by(site, packages) if brought is None else brought, preferred_pip)


def _solved(
    site: Site, specs: "list[str]", preferred: Iterable[CondaPackage]
) -> "tuple[tuple[CondaPackage, ...], tuple[str, ...]]":
    wanted = site.wanted
    answer = rattler.ask(
        site,
        "solve",
        channels=list(wanted.channels),
        specs=specs,
        platform=lockfile.host_platform(),
        priority=wanted.channel_priority or _PRIORITY,
        virtual=None,
        preferred=[encode(one) for one in preferred],
        exclude_newer=site.installer.get("UV_EXCLUDE_NEWER"),
    )
    packages = tuple(decode(CondaPackage, one, "py-rattler's answer") for one in answer["packages"])
    return packages, tuple(answer["virtual"])


def _solved_by(
    site: Site, own: program.Program, specs: "list[str]"
) -> "tuple[tuple[CondaPackage, ...], tuple[str, ...], dict[str, str]]":
    """Solve by the user's own program: it makes an environment, and what that holds is the solution."""
    prefix = site.scratch / "solved"
    shutil.rmtree(prefix, ignore_errors=True)
    try:
        packages = program.solve(site, own, specs, prefix)
        found = distributions(prefix)
        return packages, (), {normalised(one.name): one.version for one in found}
    finally:
        shutil.rmtree(prefix, ignore_errors=True)


def asked(site: Site) -> dict[str, str]:
    """Return the question that a lock answers, part by part; what changes by itself, as channels do, is none of it."""
    wanted = site.wanted
    parts = {
        **locking.common(site),
        "platform": lockfile.host_platform(),
        "libc": lockfile.libc() or "",
        "channels": "\n".join(wanted.channels),
        "conda dependencies": "\n".join(wanted.packages),
        "channel priority": wanted.channel_priority or _PRIORITY,
    }
    parts.update({name: value for name, value in os.environ.items() if name.startswith(_OVERRIDES)})
    return parts


def _known_of(site: Site, lock: str, where: str) -> Known:
    question: Json = {"lock": lock, "kind": "conda"}
    return locking.understood(site, question, lambda: _digested(lock, locking.bytes_of(site, lock), where))


def _digested(lock: str, data: bytes, where: str = "the lock") -> Known:
    found = lockfile.read(data, where)
    here = lockfile.host_platform()
    if found.platform != here:
        message = f"{where} is for {found.platform}, and this host is {here}"
        raise EnvironmentBuildError(message, hint="`mlrun run` of the project solves it anew for this host")
    pip = found.pip_packages
    locals_ = tuple(Local(one.name, one.directory, one.editable) for one in pip if one.directory is not None)
    return Known(lock, found.artifacts, len(found.packages) + len(pip), locals_)


def _name_of(spec: str) -> str:
    word = spec.rpartition("::")[2].strip()
    end = next((at for at, letter in enumerate(word) if not (letter.isalnum() or letter in "-_.")), len(word))
    return word[:end].lower()
