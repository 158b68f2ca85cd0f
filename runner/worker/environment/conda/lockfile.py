"""The lock of a conda environment: every archive with its hash, and the pylock.toml of its pip part, as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from typing import Optional

from runner.errors import EnvironmentBuildError, FormatError
from runner.worker.codec import decode, encode
from runner.worker.environment.locks import pylock
from runner.worker.environment.nearness import Package, Recipe
from runner.worker.files import Json, canonical, pretty
from runner.worker.hashing import sha256_of
from runner.worker.values import dataclass

VERSION = 1
PRIORITY = "flexible"  # of channels: conda's own
_MACHINES = {"x86_64": "64", "amd64": "64", "i686": "32", "i386": "32"}


@dataclass(frozen=True)
class CondaPackage:
    """An archive of a channel, with what a solver and an installer have to know of it."""

    name: str
    version: str
    build: str
    build_number: int
    subdir: str  # linux-64, noarch, ...
    url: str  # without user, password and token
    sha256: str
    md5: Optional[str] = None
    size: Optional[int] = None  # bytes
    timestamp: Optional[int] = None  # milliseconds since the epoch: when it was built
    noarch: Optional[str] = None  # python, generic
    python_site_packages_path: Optional[str] = None
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()


@dataclass(frozen=True)
class CondaLock:
    """What a conda environment is made of, on one platform; the stored and the committed form are the same."""

    platform: str  # the subdir it is for: linux-64, osx-arm64
    packages: tuple[CondaPackage, ...]
    channels: tuple[str, ...] = ()  # that it was solved from
    virtual: tuple[str, ...] = ()  # virtual packages of the host that it was solved for: __glibc=2.36
    specification: str = ""  # digest of what it answers to
    source: str = ""  # the file that asks for it; "" where an earlier mlrun did not say
    pip: str = ""  # pylock.toml (PEP 751) of what pip adds; "" for nothing
    version: int = VERSION

    @property
    def python(self) -> Optional[str]:
        """The version of its Python, None where it has none."""
        return next((one.version for one in self.packages if one.name == "python"), None)

    @property
    def pip_packages(self) -> tuple[pylock.Locked, ...]:
        """What its pip part names."""
        return pylock.read(self.pip.encode()) if self.pip else ()

    @property
    def artifacts(self) -> str:
        """The digest of its archives: what decides the environment that it makes."""
        conda = sorted(one.sha256 for one in self.packages)
        pip: Json = [
            [one.name, one.version, one.commit, *sorted(artifact.sha256 for artifact in one.artifacts)]
            for one in sorted(self.pip_packages, key=lambda one: (one.name, one.version))
            if one.directory is None
        ]
        return sha256_of(canonical({"platform": self.platform, "conda": list(conda), "pip": pip}))


def write(lock: CondaLock) -> bytes:
    """Return the bytes of a lock; equal locks have equal bytes."""
    return pretty(encode(lock))


def read(data: bytes, where: str = "the lock") -> CondaLock:
    """Return the lock that bytes hold; EnvironmentBuildError where they hold none."""
    try:
        found = decode(CondaLock, json.loads(data), where)
    except FormatError as error:
        reason = error.message
    except (ValueError, RecursionError) as error:
        reason = f"{where} is no JSON: {error}"
    else:
        if found.version == VERSION:
            return found
        reason = f"{where} has version {found.version}; this mlrun reads {VERSION}"
    raise EnvironmentBuildError(f"not a conda lock that can be used: {reason}", hint="make it again: `mlrun lock`")


def recipe_of(data: bytes, made_of: Mapping[str, str]) -> Recipe:
    """Return what a lock makes, in a form that can be compared."""
    lock = read(data)
    found = {one.name: Package(one.version, frozenset((one.sha256,))) for one in lock.packages}
    for one in lock.pip_packages:
        if one.directory is None:
            found[one.name] = Package(one.version, frozenset(each.sha256 for each in one.artifacts))
    return Recipe(None, found, made_of)


def host_platform() -> str:
    """Return conda's name of this host's platform."""
    machine = platform.machine().lower()
    if platform.system() == "Darwin":
        return "osx-arm64" if machine == "arm64" else "osx-64"
    return f"linux-{_MACHINES.get(machine, machine)}"
