"""Packages for a machine that reaches no index: locked and downloaded here for its Python and platform."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.backends.ssh.downloading import download, manylinux, musllinux
from runner.backends.ssh.laid_out import laid_out
from runner.errors import EnvironmentBuildError
from runner.worker.environment.interpreters.platforms import Target
from runner.worker.environment.locks import pylock, sent
from runner.worker.environment.locks.locking import common, is_foreign
from runner.worker.environment.locks.project_lock import own_lock
from runner.worker.environment.locks.resolving import Wish, resolve
from runner.worker.environment.site import Site
from runner.worker.facts import Placement
from runner.worker.files import note_use
from runner.worker.manifest import decode_manifest
from runner.worker.values import dataclass

if TYPE_CHECKING:
    from runner.backends.backend import Launch
    from runner.store.store import Store
    from runner.worker.remote.survey import Survey
    from runner.worker.spec import RunSpec


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
        place = Placement(str(store.root), str(store.cache), uv=launch.uv, python=launch.python, lenient=launch.lenient)
        site = Site(spec, place, store.objects, project, launch.say, Path(scratch), launch.installer)
        lock = _lock(site, found)
        packages = pylock.read(store.objects.read(lock))
        _expect_sendable(packages)
        good_for = sent.slug(found.interpreter, found.libc)
        name = f"{lock[:32]}-{good_for} {found.libc}".strip().replace(" ", "-")
        directory = store.cache / "downloads" / "wheels" / name
        if packages and not directory.is_dir():
            _download(site, packages, found, directory)
        note_use(directory)
        wheels = tuple(sorted(directory.glob("*.whl"))) if packages else ()
        return Packages(good_for, lock, wheels)


def _lock(site: Site, found: Survey) -> str:
    if site.wanted.lock is not None and not is_foreign(site, found.interpreter, found.libc):
        return site.wanted.lock
    own = own_lock(site, found.interpreter)
    if own is not None:
        return site.objects.add(own.data)
    good_for = sent.slug(found.interpreter, found.libc)
    known = sent.known(site, common(site)).get(good_for)
    if known is not None and not sent.strangers(site.objects.read(known), found.libc):
        return known
    here = site.search.alike(found.interpreter.version)
    if here is None:
        message = "there is no Python here to resolve with"
        raise EnvironmentBuildError(message, hint="install one: `uv python install 3.12`")
    target = Target(found.interpreter.version, found.interpreter.platform, _triple(found))
    data = resolve(site, here, Wish(target=target)).data
    lock = site.objects.add(data)
    sent.note(site, common(site), good_for, lock)
    return lock


def _expect_sendable(packages: Sequence[pylock.Locked]) -> None:
    others = [one.name for one in packages if one.directory is not None or one.commit is not None]
    if others:
        message = f"{', '.join(others)} cannot be sent as a wheel: it is built from a directory or a repository"
        raise EnvironmentBuildError(message, hint="publish it as a wheel, or use a host that reaches an index")


def _download(site: Site, packages: Sequence[pylock.Locked], found: Survey, directory: Path) -> None:
    good_for = sent.slug(found.interpreter, found.libc)
    site.say(f"downloading {len(packages)} package{'s' * (len(packages) > 1)} for {good_for}")
    aside = directory.with_name(f".{directory.name}.{os.getpid()}")
    aside.mkdir(parents=True)
    try:
        names = aside / "names.txt"
        names.write_text("".join(_line(one) for one in packages), encoding="utf-8")
        words = ["--require-hashes", "-r", str(names), *_target(found)]
        reason = download(words, site.installer, aside, cwd=site.project)
        names.unlink()
        if reason:
            message = f"the packages cannot be downloaded for {good_for}: {reason}"
            raise EnvironmentBuildError(message, hint="each needs a wheel for that Python and platform on the index")
        if not directory.is_dir():
            aside.rename(directory)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _line(one: pylock.Locked) -> str:
    return f"{one.name}=={one.version} {' '.join(f'--hash=sha256:{each.sha256}' for each in one.artifacts)}\n"


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
    yield from manylinux(machine, version) if name == "glibc" and "." in version else musllinux(machine)
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
