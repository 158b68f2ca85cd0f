"""Builds a conda environment at a path: the channels' packages as the lock names them, then what pip adds."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Optional

from runner.worker.codec import encode
from runner.worker.environment.cache import conda_installed as installed
from runner.worker.environment.cache import installed as distributions
from runner.worker.environment.cache.look import state_of
from runner.worker.environment.cache.shelf import Built
from runner.worker.environment.cache.tracing import plant
from runner.worker.environment.conda import lockfile, program, rattler
from runner.worker.environment.conda.lockfile import CondaLock
from runner.worker.environment.installing import gaps, install, install_locals
from runner.worker.environment.interpreters.identity import Interpreters
from runner.worker.environment.locks.locking import Taken, bytes_of
from runner.worker.environment.locks.pylock import Locked, normalised
from runner.worker.environment.site import Site
from runner.worker.facts import Gap, InstalledEnvironment, Package
from runner.worker.hashing import digest_of_directory
from runner.worker.spec import Interpreter


def build(site: Site, taken: Taken, prefix: Path) -> Built:
    """Build at ``prefix``, for good: packages have their prefix written into them."""
    lock = lockfile.read(bytes_of(site, taken.known.lock))
    own = program.of(site)
    extracted = Path(f"{prefix}.extracted")  # on the cache's own disk, so that files are linked and not copied
    # A third of the time goes into removing it: done beside what follows.
    removal = threading.Thread(target=shutil.rmtree, args=(extracted,), kwargs={"ignore_errors": True})
    scripts: list[str] = []
    try:
        try:
            if own is not None:
                program.install(site, own, lock, prefix)
            else:
                scripts = _install(site, lock, prefix, extracted)
        finally:
            removal.start()
        prefix.mkdir(exist_ok=True)  # of no packages at all, too
        tool = own.name if own else f"{rattler.NAME} {rattler.VERSION}"
        return _completed(site, taken, prefix, lock, (tool, scripts))
    finally:
        removal.join()


def _completed(site: Site, taken: Taken, prefix: Path, lock: CondaLock, by: "tuple[str, list[str]]") -> Built:
    """Install what pip adds, and take note of all."""
    tool, scripts = by
    pip = [one for one in lock.pip_packages if one.directory is None]
    if pip:
        install(site, lock.pip.encode(), prefix)
    install_locals(site, taken.known.locals, prefix)
    plant(prefix)
    state = state_of(installed, prefix)
    digests = {one.name: one.digest for one in installed.contents(prefix, read=False)}
    packages = _packages(prefix, lock, pip)
    environment = InstalledEnvironment(
        kind="conda",
        prefix=str(prefix),
        bin=str(prefix / "bin"),
        interpreter=_interpreter(site, prefix),
        lock=taken.known.lock,
        lock_origin=taken.origin,
        packages=packages,
        installed_digest=digest_of_directory(digests.items()),
        built_by=tool,
        installed_by=f"{tool}, {site.uv.version}" if lock.pip else tool,
        variables={
            "CONDA_PREFIX": str(prefix),
            "CONDA_DEFAULT_ENV": str(prefix),
            "CONDA_SHLVL": "1",
            "PYTHONNOUSERSITE": "1",  # a Python that is in no virtual environment looks into the user's home first
        },
        gaps=(*gaps(packages, pip), *_gaps(scripts)),
    )
    return Built(environment, digests, state)


def _install(site: Site, lock: CondaLock, prefix: Path, extracted: Path) -> "list[str]":
    """Have py-rattler install; return the packages that ran a script."""
    answer = rattler.ask(
        site,
        "install",
        prefix=str(prefix),
        extracted=str(extracted),
        platform=lock.platform,
        packages=[encode(one) for one in lock.packages],
    )
    scripts: list[str] = answer["scripts"]
    return scripts


def _interpreter(site: Site, prefix: Path) -> Optional[Interpreter]:
    """Return who the environment's Python is, by the bytes that were published: the prefix is written into these."""
    path = prefix / "bin" / "python"
    found = Interpreters(site.cache, os.environ).identify(path) if path.exists() else None
    published = installed.published(prefix, path) if found else None
    return replace(found, sha256=published) if found and published else found


def _gaps(scripts: "list[str]") -> Iterator[Gap]:
    for name in scripts:
        yield Gap(
            f"environment.packages.{name}",
            "a script of the package ran when it was installed; no lock holds what it did",
        )


def _packages(prefix: Path, lock: CondaLock, pip: "list[Locked]") -> "tuple[Package, ...]":
    """Return the record's packages: those of channels, then those that pip has added."""
    added = installed.added_by_pip(prefix)
    conda = (Package(one.name, one.version, (one.sha256,), one.url) for one in lock.packages)
    return (*conda, *(one for one in distributions.packages(prefix, pip) if normalised(one.name) in added))
