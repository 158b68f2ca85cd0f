"""Builds an environment at a path: virtualenv (else uv) makes it, uv installs the lock, then the project's own code."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.errors import EnvironmentBuildError
from runner.worker.environment import installed, pylock
from runner.worker.environment.archives import from_store
from runner.worker.environment.locking import Local, Taken
from runner.worker.environment.making import SPACE, make, pip_install
from runner.worker.environment.site import Site
from runner.worker.environment.uv import wants_login
from runner.worker.facts import Gap, InstalledEnvironment, Package
from runner.worker.spec import Interpreter
from runner.worker.tools import Finished
from runner.worker.values import dataclass

_CURES = (  # words of uv's, and what to do; the first that fit
    (
        ("hash mismatch",),
        "the archive is not the one that was locked; `mlrun lock --upgrade` if it was replaced on purpose",
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


@dataclass(frozen=True)
class Built:
    """A new environment, and the digest of each of its distributions."""

    environment: InstalledEnvironment
    digests: Mapping[str, str]


def build(site: Site, interpreter: Interpreter, taken: Taken, prefix: Path) -> Built:
    """Build at ``prefix``, for good: an environment knows its path. EnvironmentBuildError quotes who failed."""
    lock = site.objects.read(taken.known.lock)
    named = [one for one in pylock.read(lock) if one.directory is None]
    built_by = make(site, interpreter, prefix)
    install(site, lock, prefix)
    install_locals(site, taken.known.locals, prefix)
    found = _checked(site, prefix, {one.name for one in named})
    packages = installed.packages(prefix, named)
    environment = InstalledEnvironment(
        kind="virtualenv",
        prefix=str(prefix),
        bin=str(prefix / "bin"),
        interpreter=interpreter,
        lock=taken.known.lock,
        lock_origin=taken.origin,
        packages=packages,
        installed_digest=installed.digest_of(found, {one.name for one in named}),
        built_by=built_by,
        installed_by=site.uv.version,
        variables={"VIRTUAL_ENV": str(prefix)},
        gaps=tuple(gaps(packages, named)),
    )
    return Built(environment, {one.name: one.digest for one in found})


def install(site: Site, lock: bytes, prefix: Path) -> None:
    """Have uv install what a pylock.toml names into an environment."""
    text = from_store(pylock.installable(lock, site.project), site.objects, site.scratch / "archives")
    if not text:
        return
    (site.scratch / "pylock.toml").write_bytes(text)
    named = [one for one in pylock.read(lock) if one.directory is None]
    site.say(f"installing {len(named)} package{'s' if len(named) > 1 else ''}")
    words = _from_wheels(site, named) or [*site.uv.options, "-r", str(site.scratch / "pylock.toml")]
    _succeed(site, site.uv.run(*pip_install(prefix), *words, cwd=site.project))


def _from_wheels(site: Site, named: "list[pylock.Locked]") -> "list[str]":
    """Return how the lock's packages are installed from the archives that came with the run; nothing where none did."""
    if site.placement.wheels is None:
        return []
    lines = [
        f"{one.name}=={one.version} " + " ".join(f"--hash=sha256:{artifact.sha256}" for artifact in one.artifacts)
        for one in named
    ]
    file = site.scratch / "wheels.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    places = ["--no-index", "--offline", "--find-links", site.placement.wheels]
    return [*places, "--no-deps", "--require-hashes", "-r", str(file)]


def _checked(site: Site, prefix: Path, names: "set[str]") -> "tuple[installed.Content, ...]":
    """Read what was installed; what differs from its archive's own list is fetched anew.

    An environment that is hard-linked with uv's cache, and edited, has changed the cache as well. A careless list
    differs again, and then that is what was published.
    """
    found = installed.contents(prefix)
    wrong = sorted(one.name for one in found if one.name in names and one.altered)
    if not wrong:
        return found
    site.say(f"note: uv's cache does not hold what was published as {', '.join(wrong)}: fetched anew")
    again = [word for name in wrong for word in ("--reinstall-package", name)]
    words = [*pip_install(prefix), *site.uv.options, "--no-cache", *again, "-r", str(site.scratch / "pylock.toml")]
    _succeed(site, site.uv.run(*words, cwd=site.project))
    return installed.contents(prefix)


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


def gaps(packages: "tuple[Package, ...]", named: "list[pylock.Locked]") -> Iterator[Gap]:
    """Return what no lock holds: the tools that build a distribution from its source."""
    wheels = {artifact.sha256 for one in named for artifact in one.artifacts if artifact.file.endswith(".whl")}
    locked = {one.name for one in named}
    for one in packages:
        if pylock.normalised(one.name) in locked and not wheels.intersection(one.sha256):
            reason = "built here from its source; the tools of that build are not locked"
            yield Gap(f"environment.packages.{one.name}", reason)
