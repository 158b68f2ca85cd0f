"""Has uv install into an environment: what a lock names, what seeds it, and the projects of the user's own."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from runner.errors import EnvironmentBuildError
from runner.worker.environment.locks import pylock
from runner.worker.environment.locks.archives import beside, from_store
from runner.worker.environment.locks.indexes import index_of
from runner.worker.environment.locks.locking import Local
from runner.worker.environment.site import Site
from runner.worker.environment.uv import wants_login
from runner.worker.environment.virtualenv.making import SPACE, pip_install, put_in
from runner.worker.facts import Gap, Package
from runner.worker.tools import Finished

_CURES = (  # words of uv's, and what to do; the first that fit
    (
        ("hash mismatch",),
        "the archive is not the one that was locked; if it was replaced on purpose, lock anew (`mlrun lock --upgrade`)",
    ),
    (("no space",), SPACE),
    (("build-system.requires",), "correct `requires` under [build-system], or ask an index that has it"),
    (
        ("failed to build", "build backend"),
        "it has no wheel for this Python: name a Python that has one, or install what its build needs",
    ),
    (("offline", "connect", "dns", "fetch"), "installing needs the network, or the archives in uv's cache"),
    (
        ("no such file", "not found"),
        "an archive that the lock names is gone; `mlrun lock --upgrade` or `--upgrade` resolves anew",
    ),
)


def install(site: Site, lock: bytes, prefix: Path, seeds: "Sequence[str]" = ()) -> None:
    """Have uv install what a pylock.toml names into an environment, and the wheels that seed it, at one go."""
    named = [one for one in pylock.read(lock) if one.directory is None]
    text = pylock.installable(lock, site.project)
    if site.placement.wheels is not None or not text:
        _seed(site, prefix, seeds)
    if not text:
        return
    site.say(f"installing {len(named)} package{'s' if len(named) > 1 else ''}")
    if site.placement.wheels is not None:
        words = _from_wheels(site, site.placement.wheels, named)
    else:
        text = pylock.attributed(text, partial(index_of, installer=site.installer))
        text = from_store(text, site.objects, site.scratch / "archives")
        text += beside(seeds, {one.name for one in named})
        _lock_of(site).write_bytes(text)
        words = [*site.uv.options, "-r", str(_lock_of(site))]
    _succeed(site, site.uv.run(*pip_install(prefix), *words, cwd=site.project))


def install_again(site: Site, names: "Sequence[str]", prefix: Path) -> None:
    """Have uv fetch and install some packages of the lock anew, past its cache."""
    again = [word for name in names for word in ("--reinstall-package", name)]
    words = [*pip_install(prefix), *site.uv.options, "--no-cache", *again, "-r", str(_lock_of(site))]
    _succeed(site, site.uv.run(*words, cwd=site.project))


def _lock_of(site: Site) -> Path:
    return site.scratch / "pylock.toml"


def _seed(site: Site, prefix: Path, seeds: "Sequence[str]") -> None:
    if seeds:
        _succeed(site, put_in(site, prefix, *seeds))


def _from_wheels(site: Site, wheels: str, named: "list[pylock.Locked]") -> "list[str]":
    """Return how the lock's packages are installed from the archives that came with the run."""
    lines = [
        f"{one.name}=={one.version} " + " ".join(f"--hash=sha256:{artifact.sha256}" for artifact in one.artifacts)
        for one in named
    ]
    file = site.scratch / "wheels.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    places = ["--no-index", "--offline", "--find-links", wheels]
    return [*places, "--no-deps", "--require-hashes", "-r", str(file)]


def install_locals(site: Site, locals_: "tuple[Local, ...]", prefix: Path) -> None:
    """Install the projects of the user's own, which no lock can name, after all else."""
    if not locals_:
        return
    site.say(f"installing {', '.join(one.name for one in locals_)} from the project")
    words = [*pip_install(prefix), *site.uv.options, "--no-deps"]
    directories = []
    for one in locals_:
        directory = os.path.normpath(site.project / one.directory)
        directories.append(Path(directory))
        words += ["--refresh-package", one.name, *(["-e"] if one.editable else []), directory]
    with _without_litter(directories):
        _succeed(site, site.uv.run(*words, cwd=site.project))


def _succeed(site: Site, done: Finished) -> None:
    if done.code == 0:
        return
    reason = site.uv.reason(done)
    raise EnvironmentBuildError(f"the packages cannot be installed: {reason}", hint=_cure(reason))


def _cure(reason: str) -> str:
    text = reason.lower()
    if wants_login(reason):
        return wants_login(reason)
    cures = (cure for words, cure in _CURES if any(word in text for word in words))
    return next(cures, "`mlrun run --verbose` shows all that uv says")


@contextlib.contextmanager
def _without_litter(directories: "list[Path]") -> Iterator[None]:
    """Remove what a build leaves in the user's directory: setuptools makes `build` and `*.egg-info` there."""
    before = {path for directory in directories for path in _litter(directory)}
    try:
        yield
    finally:
        for directory in directories:
            for path in set(_litter(directory)) - before:
                shutil.rmtree(path, ignore_errors=True)


def _litter(directory: Path) -> "list[Path]":
    infos = [*directory.glob("*.egg-info"), *directory.glob("src/*.egg-info")]
    return [path for path in (*infos, directory / "build") if path.is_dir() and not path.is_symlink()]


def gaps(packages: "Sequence[Package]", named: "Sequence[pylock.Locked]") -> Iterator[Gap]:
    """Return what no lock holds of what was installed: the tools that build a distribution from its source."""
    wheels = {artifact.sha256 for one in named for artifact in one.artifacts if artifact.file.endswith(".whl")}
    locked = {one.name for one in named}
    for one in packages:
        if pylock.normalised(one.name) in locked and not wheels.intersection(one.sha256):
            reason = "built here from its source; the tools of that build are not locked"
            yield Gap(f"environment.packages.{one.name}", reason)
