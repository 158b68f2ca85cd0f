"""Packages for a machine that reaches no index: locked and downloaded here for its Python and platform."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.backends.ssh.laid_out import laid_out
from runner.backends.ssh.seed import pip_wheel
from runner.errors import EnvironmentBuildError
from runner.worker.environment import pylock, sent
from runner.worker.environment.locking import common
from runner.worker.environment.platforms import Target
from runner.worker.environment.project_lock import own_lock
from runner.worker.environment.resolving import Wish, resolve
from runner.worker.environment.site import Site
from runner.worker.environment.uv import redacted
from runner.worker.facts import Placement
from runner.worker.manifest import decode_manifest
from runner.worker.tools import call
from runner.worker.values import dataclass

if TYPE_CHECKING:
    from runner.backends.backend import Launch
    from runner.store.store import Store
    from runner.worker.remote.survey import Survey
    from runner.worker.spec import RunSpec

_PIP_VARIABLES = {  # of uv, as pip has them; by environment, because URLs can hold passwords
    "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
    "UV_INDEX_URL": "PIP_INDEX_URL",
    "UV_INDEX": "PIP_EXTRA_INDEX_URL",
    "UV_FIND_LINKS": "PIP_FIND_LINKS",
    "UV_INSECURE_HOST": "PIP_TRUSTED_HOST",
    "MLRUN_NO_INDEX": "PIP_NO_INDEX",
}
_OLDEST = 5  # the first manylinux of glibc 2 is 2.5


@dataclass(frozen=True)
class Packages:
    """A lock for another machine, and the wheels of it, which lie here."""

    slug: str
    lock: str  # object
    wheels: tuple[Path, ...]


def gather(spec: RunSpec, store: Store, launch: Launch, found: Survey) -> Packages:
    """Return the packages of a run for the machine surveyed; EnvironmentBuildError says what cannot be had."""
    entries = decode_manifest(store.objects.read(spec.snapshot.manifest))
    with laid_out(spec, entries, store.objects) as project, tempfile.TemporaryDirectory(prefix="mlrun-") as scratch:
        place = Placement(str(store.root), str(store.cache), uv=launch.uv, python=launch.python)
        site = Site(spec, place, store.objects, project, launch.say, Path(scratch), launch.installer)
        lock = _lock(site, found)
        packages = pylock.read(store.objects.read(lock))
        _expect_sendable(packages)
        directory = (
            store.cache / "downloads" / "wheels" / f"{lock[:32]}-{sent.slug(found.interpreter).replace(' ', '-')}"
        )
        if packages and not directory.is_dir():
            _download(site, packages, found, directory)
        wheels = tuple(sorted(directory.glob("*.whl"))) if packages else ()
        return Packages(sent.slug(found.interpreter), lock, wheels)


def _lock(site: Site, found: Survey) -> str:
    if site.wanted.lock is not None:
        return site.wanted.lock
    own = own_lock(site, found.interpreter)
    if own is not None:
        return site.objects.add(own.data)
    known = sent.known(site, common(site)).get(sent.slug(found.interpreter))
    if known is not None:
        return known
    here = site.search.alike(found.interpreter.version)
    if here is None:
        message = "there is no Python here to resolve with"
        raise EnvironmentBuildError(message, hint="install one: `uv python install 3.12`")
    target = Target(found.interpreter.version, found.interpreter.platform, _triple(found))
    data = resolve(site, here, Wish(target=target)).data
    lock = site.objects.add(data)
    sent.note(site, common(site), sent.slug(found.interpreter), lock)
    return lock


def _expect_sendable(packages: Sequence[pylock.Locked]) -> None:
    others = [one.name for one in packages if one.directory is not None or one.commit is not None]
    if others:
        message = f"{', '.join(others)} cannot be sent as a wheel: it is built from a directory or a repository"
        raise EnvironmentBuildError(message, hint="publish it as a wheel, or use a host that reaches an index")


def _download(site: Site, packages: Sequence[pylock.Locked], found: Survey, directory: Path) -> None:
    pip = pip_wheel()
    if pip is None:
        message = "virtualenv is not installed here, whose pip downloads packages for other machines"
        raise EnvironmentBuildError(message, hint="install mlrun anew: virtualenv comes with it")
    site.say(f"downloading {len(packages)} package{'s' * (len(packages) > 1)} for {sent.slug(found.interpreter)}")
    aside = directory.with_name(f".{directory.name}.{os.getpid()}")
    aside.mkdir(parents=True)
    try:
        names = aside / "names.txt"
        names.write_text("".join(_line(one) for one in packages), encoding="utf-8")
        words = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
        words += ["--require-hashes", "-r", str(names), "-d", str(aside), *_target(found)]
        done = call([sys.executable, pip / "pip", *words], env=_environ(site.installer), cwd=site.project)
        names.unlink()
        if done.code != 0:
            lines = [line for line in redacted(done.complaint).splitlines() if line.startswith("ERROR: ")]
            reason = lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with code {done.code}"
            message = f"the packages cannot be downloaded for {sent.slug(found.interpreter)}: {reason}"
            raise EnvironmentBuildError(message, hint="each needs a wheel for that Python and platform on the index")
        if not directory.is_dir():
            aside.rename(directory)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _line(one: pylock.Locked) -> str:
    return f"{one.name}=={one.version} {' '.join(f'--hash=sha256:{each.sha256}' for each in one.artifacts)}\n"


def _environ(installer: Mapping[str, str]) -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    for name, value in installer.items():
        if name in _PIP_VARIABLES:
            words = re.split(r"[ ,]+", value)
            environ[_PIP_VARIABLES[name]] = " ".join(re.sub(r"^[\w.-]+=(?=\w+:)", "", word) for word in words)
    return environ


def _target(found: Survey) -> list[str]:
    interpreter = found.interpreter
    series = re.match(r"(\d+)\.(\d+)", interpreter.version)
    assert series is not None
    words = ["--python-version", interpreter.version, "--implementation", "cp"]
    words += [word for abi in (f"cp{series[1]}{series[2]}", "abi3", "none") for word in ("--abi", abi)]
    return [*words, *(word for platform in _platforms(found) for word in ("--platform", platform))]


def _platforms(found: Survey) -> Iterator[str]:
    """Yield the platform tags whose wheels the machine can take, the closest first."""
    system, _, machine = found.interpreter.platform.partition("-")
    if system != "linux":
        yield re.sub(r"[-.]", "_", found.interpreter.platform)
        return
    name, _, version = found.libc.partition(" ")
    minor = int(version.split(".")[1]) if name == "glibc" and "." in version else None
    if minor is not None:
        yield from (f"manylinux_2_{number}_{machine}" for number in range(minor, _OLDEST - 1, -1))
        yield from (f"{old}_{machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1"))
    else:
        yield from (f"musllinux_1_{number}_{machine}" for number in (2, 1))
    yield f"linux_{machine}"


def _triple(found: Survey) -> str | None:
    """Return uv's name of a machine: the newest that it knows and the machine can take."""
    system, _, machine = found.interpreter.platform.partition("-")
    if system != "linux":
        return None
    name, _, version = found.libc.partition(" ")
    if name != "glibc" or "." not in version:
        return f"{machine}-unknown-linux-musl"
    known = [number for number in (17, 28, *range(31, 41)) if number <= int(version.split(".")[1])]
    return f"{machine}-manylinux_2_{known[-1] if known else 17}"
