"""Hashes that requirement lines pin their archives to (`--hash=sha256:...`): no other archive may be installed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Optional

from runner.errors import EnvironmentBuildError
from runner.worker.environment.locks import pylock
from runner.worker.environment.locks.archives import file_name
from runner.worker.spec import EnvironmentSpec
from runner.worker.values import dataclass

_HASH = re.compile(r"\s--hash(?:\s*=\s*|\s+)sha256:([0-9a-fA-F]{64})\b")
_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?![\w.:/-])")
_STRICT = re.compile(r"\s*--require-hashes\s*$")
_OTHERS = (".yaml", ".yml", ".toml", ".lock", ".py", ".cfg", ".whl", ".zip", ".gz")  # no lists of requirement lines
_HINT = "what is there may have been replaced: look which is right, then bring the hashes up to date"


@dataclass(frozen=True)
class Pins:
    """What requirement lines admit."""

    # Normalised name, or the name of an archive's file where a line has its place alone -> sha256 that may be taken.
    admitted: Mapping[str, frozenset[str]] = field(default_factory=dict)
    strict: bool = False  # `--require-hashes`: and nothing that no line pins

    def of(self, one: pylock.Locked) -> Optional[frozenset[str]]:
        """Return the archives of a distribution that may be taken, None where no line says so."""
        keys = {one.name, *(artifact.file for artifact in one.artifacts)} & self.admitted.keys()
        return frozenset().union(*(self.admitted[key] for key in keys)) if keys else None


def pins_of(wanted: EnvironmentSpec, project: Path) -> Pins:
    """Return the hashes of an environment's requirement lines, in whatever file they stand."""
    pins: dict[str, frozenset[str]] = {}
    strict = False
    for text in _texts(wanted, project):
        for joined in re.sub(r"\\\r?\n", " ", text).splitlines():
            line = re.sub(r"(^|\s)#.*", "", joined)
            hashes, name = _HASH.findall(line), _NAME.match(line)
            strict = strict or _STRICT.match(line) is not None
            if hashes:
                key = pylock.normalised(name[1]) if name else file_name(re.split(r"\s|[?#]", line.strip())[0])
                pins[key] = pins.get(key, frozenset()) | {each.lower() for each in hashes}
    return Pins(pins, strict)


def _texts(wanted: EnvironmentSpec, project: Path) -> Iterator[str]:
    yield "\n".join((*wanted.build_requirements, *wanted.requirements))
    for file in wanted.files:
        if not file.path.endswith(_OTHERS):
            yield (project / file.path).read_text(encoding="utf-8-sig", errors="replace")


def hold_to(data: bytes, pins: Pins) -> bytes:
    """Return a lock without the archives that its requirement lines do not admit.

    EnvironmentBuildError where none of a package's archives is one that they admit, or where they should and do not
    say which.
    """
    for one in pylock.read(data) if pins.admitted or pins.strict else ():
        admitted = pins.of(one)
        if admitted is None:
            if pins.strict:
                message = f"{one.name} {one.version} is pinned by no --hash, and --require-hashes wants one for each"
                raise EnvironmentBuildError(message, hint="`uv pip compile --generate-hashes` writes them all")
            continue
        if all(artifact.sha256 in admitted for artifact in one.artifacts):
            continue
        if not any(artifact.sha256 in admitted for artifact in one.artifacts):
            message = f"{one.name} {one.version} is pinned by --hash, and the index has no such archive of it"
            raise EnvironmentBuildError(message, hint=_HINT)
        data = pylock.without(data, {artifact.sha256 for artifact in one.artifacts} - admitted)
    return data
