"""The directory of a key in the cache, CACHE/envs/<key>: its file names, and the marker that says what is whole."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path

from runner.errors import FormatError
from runner.worker.codec import decode, encode
from runner.worker.facts import InstalledEnvironment
from runner.worker.files import canonical, read_json
from runner.worker.files import replace as rewrite
from runner.worker.values import dataclass

_MOST_USES = 1 << 16  # bytes of a list of uses, before its older half goes


@dataclass(frozen=True)
class Marker:
    """environment.json of a key: which directory is the whole one, and the state it was left in."""

    directory: str
    environment: InstalledEnvironment
    pulse: str  # of the files watched
    python: tuple[int, ...]  # state of the interpreter's file; () where it has none
    top_level: tuple[str, ...]
    digests: Mapping[str, str] = field(default_factory=dict)  # of each distribution
    made_of: Mapping[str, str] = field(default_factory=dict)  # what the key is made of besides interpreter and archives
    others: str = ""  # digest of the list of all other files; "" where an older mlrun has built it
    boot: str = ""  # of the machine, while it was built; "" once all was read after another: a crash may lose bytes
    version: int = 1


@dataclass(frozen=True)
class Use:
    """A run that used an environment: a line of <name>.uses."""

    run: str
    project: str
    at: str


@dataclass(frozen=True)
class Slot:
    """CACHE/envs/<key>: environments of one key by name, of which the marker names the whole one."""

    root: Path

    @property
    def key(self) -> str:
        """What the environments here are made of."""
        return self.root.name

    @property
    def lock(self) -> Path:
        """Whoever builds or removes here holds it."""
        return self.root / "lock"

    @property
    def marker(self) -> Path:
        """Written last."""
        return self.root / "environment.json"

    def prefix(self, marker: Marker) -> Path:
        """Return the directory of the whole environment."""
        return self.root / marker.directory

    def prefixes(self) -> "list[Path]":
        """Return the directories of environments, whole or not."""
        return [path for path in entries(self.root) if path.is_dir()]

    def litter(self) -> "list[Path]":
        """Return the files of environments that are gone, and of markers that were never moved in."""
        names = {path.name for path in self.prefixes()}
        files = [path for path in entries(self.root) if not path.is_dir()]
        return [
            path for path in files if path not in (self.lock, self.marker) and path.name.partition(".")[0] not in names
        ]

    def read(self) -> "Marker | str | None":
        """Return the marker, None where there is none, or what is wrong with it."""
        try:
            return decode(Marker, read_json(self.marker))
        except FileNotFoundError:
            return None
        except (FormatError, OSError, UnicodeDecodeError):
            return "its marker is damaged"

    def write(self, marker: Marker) -> None:
        """Make an environment the whole one."""
        rewrite(self.marker, canonical(encode(marker)))

    def forget(self) -> None:
        """Remove the marker: nothing here is whole any more."""
        self.marker.unlink(missing_ok=True)


def held_by(prefix: "str | Path") -> Path:
    """Return the lock that each run of an environment shares; its mtime is the last use."""
    return Path(f"{prefix}.lock")


def watched_of(prefix: "str | Path") -> Path:
    """Return the list of the files that a quick look goes over."""
    return Path(f"{prefix}.watched")


def others_of(prefix: "str | Path") -> Path:
    """Return the list, with digests, of the files that belong to no distribution."""
    return Path(f"{prefix}.others")


def uses_of(prefix: "str | Path") -> Path:
    """Return the list of the runs that used an environment."""
    return Path(f"{prefix}.uses")


def note(prefix: "str | Path", use: Use) -> None:
    """Add a run to those that used an environment; a cache that cannot be written serves all the same."""
    path = uses_of(prefix)
    with contextlib.suppress(OSError):
        with open(path, "ab") as stream:
            stream.write(canonical(encode(use)) + b"\n")
            full = stream.tell() > _MOST_USES
        if full:
            data = path.read_bytes()
            path.write_bytes(data[data.index(b"\n", len(data) // 2) + 1 :])


def uses(prefix: "str | Path") -> "tuple[Use, ...]":
    """Return the runs that used an environment, the last first; of thousands, only the later ones."""
    return tuple(_uses(prefix))[::-1]


def _uses(prefix: "str | Path") -> Iterator[Use]:
    with contextlib.suppress(OSError):
        for line in uses_of(prefix).read_bytes().splitlines():
            with contextlib.suppress(ValueError, FormatError):  # two processes may have cut the list at once
                yield decode(Use, json.loads(line))


def slots(cache: Path) -> "list[Slot]":
    """Return the keys of a cache that hold anything."""
    found = (Slot(path) for path in entries(cache / "envs") if path.is_dir())
    return [slot for slot in found if slot.marker.exists() or slot.prefixes()]


def entries(directory: Path) -> "list[Path]":
    """Return what lies in a directory, nothing where it cannot be read."""
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def size_of(directory: "str | os.PathLike[str]") -> int:
    """Return the bytes that a tree takes on the disk."""
    total, folders = 0, [os.fspath(directory)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    with contextlib.suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total
