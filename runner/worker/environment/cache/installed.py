"""What stands in an environment: its distributions, the digests of their files, which of them a quick look sees."""

from __future__ import annotations

import base64
import contextlib
import csv
import functools
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from runner.worker.environment.cache import rest
from runner.worker.environment.locks.pylock import Locked, built_from, normalised
from runner.worker.facts import Package
from runner.worker.hashing import digest_of_directory
from runner.worker.stat_cache import stat_key
from runner.worker.values import dataclass

# Files that depend on the tool or on the path, not on what was installed.
_NOT_CONTENT = frozenset(("direct_url.json", "INSTALLER", "RECORD", "REQUESTED", "uv_cache.json", "uv_build.json"))
# What no run reads: a quick look is quick because it leaves these out, and a whole one does not.
_IDLE = (".pyc", ".pyi", ".pxd", ".pyx", ".h", ".hpp", ".c", ".cpp", ".md", ".rst", ".build", ".typed")
IDLE_PLACES = re.compile(r"/tests?/|\.dist-info/licenses/")


@dataclass(frozen=True)
class Distribution:
    """An installed distribution and the directory of its metadata."""

    name: str
    version: str
    info: Path


class Row(NamedTuple):
    """A line of a RECORD, as it stands there."""

    path: str  # relative to site-packages
    claim: str  # "sha256=" and the digest in URL-safe base64, or nothing
    size: str

    @property
    def bytes(self) -> int:
        """The size claimed; 0 where there is none."""
        return int(self.size) if self.size.isdecimal() else 0

    @property
    def sha256(self) -> Optional[str]:
        """The digest claimed, as hex; None where there is none that can be read."""
        algorithm, _, text = self.claim.partition("=")
        with contextlib.suppress(ValueError):
            return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex() if algorithm == "sha256" else None
        return None


class File(NamedTuple):
    """A file of a distribution: as it is, and as its RECORD lists it."""

    path: str  # relative to site-packages
    sha256: str  # "" for one that is gone
    listed: Optional[str]


@dataclass(frozen=True)
class Content:
    """The files of a distribution."""

    name: str  # normalised
    files: tuple[File, ...]

    @property
    def digest(self) -> str:
        """Equal for pip and uv, and wherever the environment lies."""
        return digest_of_directory((file.path, file.sha256) for file in self.files)

    @property
    def altered(self) -> Optional[str]:
        """The first file that is not as its RECORD lists it."""
        return next((file.path for file in self.files if file.listed not in (None, file.sha256)), None)


def site_packages(prefix: Path) -> Optional[Path]:
    """Return where an environment's distributions lie."""
    return next(iter(sorted(prefix.glob("lib/*/site-packages"))), None)


def distributions(prefix: Path) -> tuple[Distribution, ...]:
    """Return what is installed, by name."""
    site = site_packages(prefix)
    infos = sorted(site.glob("*.dist-info")) if site else []
    return tuple(one for one in map(_distribution, infos) if one is not None)


def packages(prefix: Path, lock: Collection[Locked]) -> tuple[Package, ...]:
    """Return the record's packages: archive hashes and URLs are the lock's, for nothing that is installed has them."""
    locked = {key: one for one in lock for key in ((one.name, ""), (one.name, one.version))}
    found = ((one, normalised(one.name)) for one in distributions(prefix))
    # A lock for several platforms can name one distribution in several versions.
    return tuple(_package(one, locked.get((name, one.version), locked.get((name, "")))) for one, name in found)


def contents(prefix: Path, names: Optional[Collection[str]] = None) -> tuple[Content, ...]:
    """Read every file of the distributions, or of those named, and return what is in them."""
    with reading(prefix, names) as read:
        return read()


@contextlib.contextmanager
def reading(prefix: Path, names: Optional[Collection[str]] = None) -> Iterator[Callable[[], tuple[Content, ...]]]:
    """Begin to read every file of the distributions; what the block is given returns what is in them."""
    from runner.worker.many_hashes import hashing  # a warm run reads nothing

    wanted = [one for one in distributions(prefix) if names is None or normalised(one.name) in names]
    listed = [[row for row in _rows(one.info) if _is_content(row.path)] for one in wanted]
    sites = [os.fspath(one.info.parent) for one in wanted]
    with hashing([(f"{site}/{row.path}", row.bytes) for site, rows in zip(sites, listed) for row in rows]) as result:
        claims = [[(row.path, row.sha256) for row in rows] for rows in listed]  # as long as others read

        def read() -> tuple[Content, ...]:
            digests = iter(result())
            return tuple(
                Content(normalised(one.name), tuple(File(path, next(digests), claim) for path, claim in files))
                for one, files in zip(wanted, claims)
            )

        yield read


def digest_of(digests: Mapping[str, str], names: Collection[str]) -> str:
    """Return the installed digest: over the distributions that the lock names, not over what seeds an environment."""
    return digest_of_directory((name, digest) for name, digest in digests.items() if name in names)


def top_level(prefix: Path) -> tuple[str, ...]:
    """Return the names that stand in site-packages: what a stray file or a new distribution adds to."""
    site = site_packages(prefix)
    names = set(os.listdir(site)) if site else set()
    return tuple(sorted(name for name in names if not rest.is_bytecode(name, names)))


def watched(prefix: Path) -> set[str]:
    """Return the paths a quick look goes over: all that RECORDs list, but for tests and C sources."""
    found = {"pyvenv.cfg"}
    for one in distributions(prefix):
        site = os.path.relpath(one.info.parent, prefix)
        paths = (path for path, *_ in _rows(one.info) if not path.endswith(_IDLE) and not IDLE_PLACES.search(path))
        found.update(_from_prefix(site, path) for path in paths)
    return found


def others(prefix: Path) -> bytes:
    """Return the files that are no content of a distribution, as `rest` lists them."""
    site = site_packages(prefix)
    places = ("bin", "pyvenv.cfg", *((os.path.relpath(site, prefix),) if site else ()))
    return rest.listed(prefix, places, {path for one in distributions(prefix) for path in content_of(one, prefix)})


def content_of(one: Distribution, prefix: Path) -> Iterator[str]:
    """Yield the paths, relative to the prefix, that the digest of a distribution is over."""
    site = os.path.relpath(one.info.parent, prefix)
    return (_from_prefix(site, path) for path, *_ in _rows(one.info) if _is_content(path))


def _from_prefix(site: str, path: str) -> str:
    """Return a path of a RECORD, relative to the prefix; there are thousands, and few that lead out of ``site``."""
    return os.path.normpath(f"{site}/{path}") if ".." in path else f"{site}/{path}"


def _distribution(info: Path) -> Optional[Distribution]:
    header: dict[str, str] = {}
    try:
        with open(info / "METADATA", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                key, colon, value = line.partition(":")
                if not colon or {"Name", "Version"} <= header.keys():
                    break  # the description after the header can be long
                header.setdefault(key, value.strip())
    except OSError:
        return None
    name, version = header.get("Name"), header.get("Version")
    return Distribution(name, version, info) if name and version else None


def _package(one: Distribution, locked: Optional[Locked]) -> Package:
    if locked is None:
        return Package(one.name, one.version)
    artifacts = built_from(locked, _tags(one.info))
    return Package(one.name, one.version, tuple(a.sha256 for a in artifacts), artifacts[0].url if artifacts else None)


def _tags(info: Path) -> Iterator[str]:
    try:
        text = (info / "WHEEL").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        if line.startswith("Tag:"):
            yield line[4:].strip()


def _rows(info: Path) -> "Sequence[Row]":
    try:
        record = info / "RECORD"
        return _read(record, stat_key(record.stat()))
    except OSError:
        return (Row(f"{info.name}/RECORD is missing", "", ""),)


@functools.lru_cache(maxsize=500)
def _read(record: Path, state: "tuple[int, ...]") -> "tuple[Row, ...]":
    """Return the lines of a RECORD; it is read once for as long as its file is in a state."""
    del state
    with open(record, encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return tuple(Row(*(*fields, "", "")[:3]) for fields in csv.reader(stream) if len(fields) > 1)


def _is_content(path: str) -> bool:
    parts = path.split("/")
    if parts[-1] in _NOT_CONTENT and parts[0].endswith(".dist-info"):
        return False
    return not (path.endswith(".pyc") or (parts[0] == ".." and "bin" in parts[1:-1]))
