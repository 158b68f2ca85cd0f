"""Builds an environment at a path: virtualenv (else uv) makes it, uv installs the lock, then the project's own code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runner.worker.environment.cache import installed
from runner.worker.environment.cache.look import State, noted
from runner.worker.environment.cache.shelf import Built
from runner.worker.environment.cache.tracing import plant
from runner.worker.environment.installing import gaps, install, install_again, install_locals
from runner.worker.environment.locks import pylock
from runner.worker.environment.locks.locking import Taken
from runner.worker.environment.site import Site
from runner.worker.environment.virtualenv.making import Made, make
from runner.worker.environment.virtualenv.process import Virtualenv
from runner.worker.facts import Gap, InstalledEnvironment


def build(site: Site, virtualenv: Virtualenv, taken: Taken, prefix: Path) -> Built:
    """Build at ``prefix``, for good: an environment knows its path. EnvironmentBuildError quotes who failed."""
    lock = site.objects.read(taken.known.lock)
    named = [one for one in pylock.read(lock) if one.directory is None]
    names = {one.name for one in named}
    made = make(site, virtualenv, prefix)
    install(site, lock, prefix, made.seeds)
    install_locals(site, taken.known.locals, prefix)
    plant(prefix)
    found, state = _checked(site, prefix, names)
    digests = {one.name: one.digest for one in found}
    packages = installed.packages(prefix, named)
    environment = InstalledEnvironment(
        kind="virtualenv",
        prefix=str(prefix),
        bin=str(prefix / "bin"),
        interpreter=virtualenv.interpreter,
        lock=taken.known.lock,
        lock_origin=taken.origin,
        packages=packages,
        installed_digest=installed.digest_of(digests, names),
        built_by=made.by,
        installed_by=site.uv.version,
        variables={"VIRTUAL_ENV": str(prefix)},
        gaps=(*gaps(packages, named), *_drifting(made, names)),
    )
    return Built(environment, digests, state)


def _drifting(made: Made, locked: "set[str]") -> "Iterator[Gap]":
    for name in made.drifting:
        if name not in locked:
            yield Gap(f"environment.packages.{name}", "put in by `uv venv --seed` as new as it was; no lock holds it")


def _checked(site: Site, prefix: Path, names: "set[str]") -> "tuple[tuple[installed.Content, ...], State]":
    """Read what was installed; what differs from its archive's own list is fetched anew.

    An environment that is hard-linked with uv's cache, and edited, has changed the cache as well. A careless list
    differs again, and then that is what was published.
    """
    found, state = noted(prefix)
    wrong = sorted(one.name for one in found if one.name in names and one.altered)
    if not wrong:
        return found, state
    site.say(f"note: uv's cache does not hold what was published as {', '.join(wrong)}: fetched anew")
    install_again(site, wrong, prefix)
    return noted(prefix)
