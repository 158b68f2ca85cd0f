"""Where the inputs of a past run lay on this host, and the text of which a directory's digest is one."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from pathlib import Path

from runner.worker.execution.scan import scan_whole
from runner.worker.facts import Placement, SourceFacts
from runner.worker.hashing import sha256_of_file
from runner.worker.results import FileFact
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec


def place_of(fact: FileFact, run: RunDirectory, spec: RunSpec) -> Path | None:
    """Return where an input of a past run lay; None where that is not known."""
    placement, source = run.find(Placement), run.read(SourceFacts)
    places: Mapping[str, str] = {} if placement is None else placement.inputs
    declared = {each.name: each.path for each in spec.inputs}
    name = fact.name or ""
    if name in places and declared.get(name) == fact.path:
        return Path(places[name])
    if posixpath.isabs(fact.path):
        return Path(fact.path)
    if fact.path in places:
        return Path(places[fact.path])
    if name in places:  # a file that a glob names
        return _beside(places[name], declared.get(name, ""), fact.path)
    root = source.root if placement is None or placement.root is None else placement.root
    return Path(root) / spec.snapshot.subdirectory / fact.path if posixpath.isabs(root) else None


def _beside(place: str, pattern: str, path: str) -> Path | None:
    return Path(place[: -len(pattern)]) / path if pattern and place.endswith(f"/{pattern}") else None


def lines_of(directory: Path) -> tuple[list[tuple[str, str]], bytes]:
    """Return the (path, sha256) pairs of a directory, and the text whose sha256 is its digest; OSError."""
    pairs = [(path, sha256_of_file(directory / path)) for path in scan_whole(str(directory)).files]
    text = "".join(sorted(f"{sha256}  {path}\n" for path, sha256 in pairs))
    return pairs, os.fsencode(text)
