"""Hashes that requirement lines pin their archives to (`--hash=sha256:...`): no other archive may be installed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.errors import EnvironmentBuildError
from runner.worker.environment import pylock
from runner.worker.spec import EnvironmentSpec

_HASH = re.compile(r"\s--hash(?:\s*=\s*|\s+)sha256:([0-9a-fA-F]{64})\b")
_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?![\w.:/-])")
_OTHERS = (".yaml", ".yml", ".toml", ".lock", ".py", ".cfg", ".whl", ".zip", ".gz")  # no lists of requirement lines

Pins = Mapping[str, frozenset[str]]  # normalised name -> sha256 of the archives that may be taken


def pins_of(wanted: EnvironmentSpec, project: Path) -> Pins:
    """Return the hashes of an environment's requirement lines, in whatever file they stand."""
    pins: dict[str, frozenset[str]] = {}
    for text in _texts(wanted, project):
        for line in re.sub(r"\\\r?\n", " ", text).splitlines():
            hashes, name = _HASH.findall(line), _NAME.match(line)
            if hashes and name:
                key = pylock.normalised(name[1])
                pins[key] = pins.get(key, frozenset()) | {each.lower() for each in hashes}
    return pins


def _texts(wanted: EnvironmentSpec, project: Path) -> Iterator[str]:
    yield "\n".join((*wanted.build_requirements, *wanted.requirements))
    for file in wanted.files:
        if not file.path.endswith(_OTHERS):
            yield (project / file.path).read_text(encoding="utf-8-sig", errors="replace")


def hold_to(data: bytes, pins: Pins) -> bytes:
    """Return a lock without the archives that its requirement lines do not admit.

    EnvironmentBuildError where none of a package's archives is one that they admit.
    """
    for one in pylock.read(data) if pins else ():
        admitted = pins.get(one.name)
        if admitted is None or all(artifact.sha256 in admitted for artifact in one.artifacts):
            continue
        if not any(artifact.sha256 in admitted for artifact in one.artifacts):
            message = f"{one.name} {one.version} is pinned by --hash, and the index has no such archive of it"
            hint = "what is there may have been replaced: look which is right, then bring the hashes up to date"
            raise EnvironmentBuildError(message, hint=hint)
        data = pylock.without(data, {artifact.sha256 for artifact in one.artifacts} - admitted)
    return data
