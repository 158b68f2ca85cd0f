"""Solves a conda environment: the channels' packages by py-rattler, or the user's own program, then what pip adds."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import Optional

from runner.errors import EnvironmentBuildError
from runner.worker.codec import decode, encode
from runner.worker.environment.cache.installed import distributions
from runner.worker.environment.conda import pip, program, rattler
from runner.worker.environment.conda.lockfile import PRIORITY, CondaLock, CondaPackage, host_platform
from runner.worker.environment.locks import pylock
from runner.worker.environment.locks.belonging import specification
from runner.worker.environment.locks.pylock import normalised
from runner.worker.environment.site import Site
from runner.worker.environment.uv import AS_OF
from runner.worker.facts import Gap
from runner.worker.values import dataclass

# What another platform is taken to be, where CONDA_OVERRIDE_* says nothing: what is common by now.
_ELSEWHERE = {"linux": (("linux", "5.10"), ("glibc", "2.28")), "osx": (("osx", "13.0"),)}
_ARCHSPEC = {"64": "x86_64", "arm64": "m1", "aarch64": "aarch64"}


@dataclass(frozen=True)
class Wish:
    """How an environment is to be solved."""

    platform: str = ""  # "": this host's
    preferred: Optional[CondaLock] = None  # an earlier lock, of which is kept what fits
    upgrade: tuple[str, ...] = ()  # packages whose newest version is taken all the same
    python: Optional[str] = None  # another than the file asks for


@dataclass(frozen=True)
class Solved:
    """A lock, and what is not as it was asked for."""

    lock: CondaLock
    gaps: tuple[Gap, ...] = ()


def solve(site: Site, wish: Wish) -> Solved:
    """Solve; EnvironmentBuildError says in one line why it cannot be. A repeated run without a lock gets its day's."""
    moment = site.installer.get(AS_OF)
    if moment is None:
        return Solved(_expect_among(wish.upgrade, _solve(site, wish, site.installer.get("UV_EXCLUDE_NEWER"))))
    try:
        lock = _solve(site, wish, moment)
        reason = f"the run that is repeated had none; solved as of {moment}"
    except EnvironmentBuildError:
        site.say(f"note: nothing fits as of {moment}: solved as of today")
        lock = _solve(site.today(), wish, None)
        reason = f"the run that is repeated had none; solved as of today, because nothing fits as of {moment}"
    return Solved(lock, (Gap("environment.lock", reason),))


def _solve(site: Site, wish: Wish, moment: Optional[str]) -> CondaLock:
    wanted, platform = site.wanted, wish.platform or host_platform()
    own = program.of(site) if platform == host_platform() else None
    by = own.name if own else f"{rattler.NAME} {rattler.VERSION}"
    site.say(f"solving {wanted.source or 'the conda packages'} with {by} for {platform}")
    answers_to = specification(wanted)
    lock = CondaLock(platform, (), channels=wanted.channels, specification=answers_to, source=wanted.source)
    if own is not None:
        packages, brought = _by_program(site, own, _specs(site, wish))
        lock = replace(lock, packages=packages)
    else:
        lock = _by_rattler(site, wish, lock, moment)
        brought = pip.brought_by(site, lock.packages) if wanted.requirements else {}
    if not wanted.requirements:
        return lock
    kept = wish.preferred.pip.encode() if wish.preferred else b""
    names = {normalised(name) for name in wish.upgrade}
    return pip.resolve(site, lock, brought, pylock.only(kept, lambda one: one.name not in names) if kept else b"")


def _specs(site: Site, wish: Wish) -> "list[str]":
    specs = list(site.wanted.packages)
    if wish.python is not None:
        specs.append(f"python={wish.python}")
    elif site.wanted.requirements and not any(_name_of(spec) == "python" for spec in specs):
        specs.append("python")  # pip's part needs one, as it does for conda
    return specs


def _by_rattler(site: Site, wish: Wish, lock: CondaLock, moment: Optional[str]) -> CondaLock:
    names = {name.lower() for name in wish.upgrade}
    preferred = wish.preferred.packages if wish.preferred and wish.preferred.platform == lock.platform else ()
    answer = rattler.ask(
        site,
        "solve",
        channels=list(lock.channels),
        specs=_specs(site, wish),
        platform=lock.platform,
        priority=site.wanted.channel_priority or PRIORITY,
        virtual=None if lock.platform == host_platform() else _virtual(lock.platform),
        preferred=[encode(one) for one in preferred if one.name not in names],
        exclude_newer=moment,
    )
    kept = {(one.url, one.sha256): one for one in preferred}  # py-rattler forgets when these were built
    packages = tuple(
        kept.get((one.url, one.sha256), one)
        for one in (decode(CondaPackage, each, "py-rattler's answer") for each in answer["packages"])
    )
    ageless = [f"{one.name} {one.version}" for one in packages if one.timestamp is None] if moment else []
    if ageless:
        site.say(f"note: the channels do not say how old these are, and they are taken: {', '.join(ageless)}")
    return replace(lock, packages=packages, virtual=tuple(answer["virtual"]))


def _by_program(
    site: Site, own: program.Program, specs: "list[str]"
) -> "tuple[tuple[CondaPackage, ...], dict[str, str]]":
    """Solve by the user's own program: it makes an environment, and what that holds is the solution."""
    prefix = site.scratch / "solved"
    shutil.rmtree(prefix, ignore_errors=True)
    try:
        packages = program.solve(site, own, specs, prefix)
        return packages, {normalised(one.name): one.version for one in distributions(prefix)}
    finally:
        shutil.rmtree(prefix, ignore_errors=True)


def _virtual(platform: str) -> "list[str]":
    """Return the virtual packages that another platform is taken to have."""
    system, _, machine = platform.partition("-")
    found = ["__unix=0=0", f"__archspec=1={_ARCHSPEC.get(machine, machine)}"]
    for name, usual in _ELSEWHERE.get(system, ()):
        found.append(f"__{name}={os.environ.get(f'CONDA_OVERRIDE_{name.upper()}') or usual}=0")
    if os.environ.get("CONDA_OVERRIDE_CUDA"):
        found.append(f"__cuda={os.environ['CONDA_OVERRIDE_CUDA']}=0")
    return found


def _expect_among(upgrade: "tuple[str, ...]", lock: CondaLock) -> CondaLock:
    names = [*(one.name for one in lock.packages), *(one.name for one in lock.pip_packages)]
    known = set(map(normalised, names))
    unknown = [name for name in upgrade if normalised(name) not in known]
    if unknown:
        message = f"--upgrade {unknown[0]}: the environment has no such package"
        raise EnvironmentBuildError(message, hint="name a package of the lock, as the lock writes it")
    return lock


def _name_of(spec: str) -> str:
    word = spec.rpartition("::")[2].strip()
    end = next((at for at, letter in enumerate(word) if not (letter.isalnum() or letter in "-_.")), len(word))
    return word[:end].lower()
