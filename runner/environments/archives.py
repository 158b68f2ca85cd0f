"""Bring the archives of a run's packages into the object store, so that they can travel with it."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.errors import EnvironmentBuildError
from runner.worker.environment.locks.archives import file_name, places
from runner.worker.environment.logins import redacted
from runner.worker.facts import Package
from runner.worker.hashing import sha256_of_file
from runner.worker.objects import Objects

_PATIENCE = 60.0  # seconds without a byte


def fetch_archives(lock: bytes, packages: tuple[Package, ...], objects: Objects, aside: Path) -> Iterator[str]:
    """Store the archives that packages were installed from, and yield their digests.

    EnvironmentBuildError names one that cannot be had, or that is not what was locked.
    """
    known = places(lock)
    for package in packages:
        for sha256 in package.sha256:
            if sha256 not in known:
                continue
            if not objects.has(sha256):
                _fetch(package, sha256, known[sha256], objects, aside)
            yield sha256


def _fetch(package: Package, sha256: str, place: str, objects: Objects, aside: Path) -> None:
    what = f"the archive of {package.name} {package.version} ({redacted(place)})"
    target = aside / file_name(place)
    try:
        if "://" not in place or place.startswith("file:"):
            origin = Path(place if "://" not in place else unquote(urlsplit(place).path))
            target.write_bytes(origin.read_bytes())
        else:
            with urllib.request.urlopen(place, timeout=_PATIENCE) as answer, target.open("wb") as copy:  # noqa: S310
                while block := answer.read(1 << 20):
                    copy.write(block)
    except (OSError, ValueError) as error:
        message = f"{what} cannot be had: {redacted(str(error))}"
        raise EnvironmentBuildError(
            message, hint="export without --wheels: the other machine then asks the index"
        ) from None
    if sha256_of_file(target) != sha256:
        message = f"{what} is not the one that was locked"
        raise EnvironmentBuildError(message, hint="somebody has replaced it; export without --wheels")
    objects.add_file(target, sha256)
    target.unlink()
