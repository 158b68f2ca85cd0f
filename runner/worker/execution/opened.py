"""Traced inputs: the files that the run's Python programs opened to read, noted by a hook in the environment."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Optional

from runner.worker.environment.cache.tracing import VARIABLE, is_planted
from runner.worker.execution.digests import Digests
from runner.worker.execution.inputs import mode_of
from runner.worker.execution.scan import SKIPPED
from runner.worker.execution.surroundings import Environ
from runner.worker.execution.workplace import Workplace
from runner.worker.facts import Gap, InstalledEnvironment
from runner.worker.results import FileFact, Files
from runner.worker.rundir import RunDirectory

_MOST = 10_000  # traced files that a record names
_MOST_BYTES = 1 << 30  # of files that were not hashed before the command, and are hashed for having been read
_NATIVE = Gap("inputs", "only what Python opened is traced: a library that opens files by itself is not seen")


def begin(run: RunDirectory, workplace: Workplace, installed: InstalledEnvironment, environ: Environ) -> bool:
    """Have the command's Pythons note what they open; False where its environment has no hook."""
    if installed.container is not None or not is_planted(installed.prefix):
        return False
    run.opened.write_bytes(os.fsencode(workplace.project) + b"\0\0")  # what is declared is hashed as a whole
    environ[VARIABLE.encode()] = os.fsencode(run.opened)
    return True


def conclude(
    run: RunDirectory, workplace: Workplace, source: Collection[str], written: Collection[str], digests: Digests
) -> None:
    """Write traced.json: what was opened and is neither source nor declared, nor made by the run itself."""
    known = run.read_files(run.inputs) or Files()
    facts = {fact.path: fact for fact in known.files}
    declared = [fact.path for fact in known.files if fact.basis in ("declared", "parameter")]
    project = str(workplace.project)
    found: list[FileFact] = []
    budget = _MOST_BYTES
    opened = (path for path in _opened(run, project) if not _is_ours(path))
    paths = [path for path in opened if path not in source or os.path.islink(f"{project}/{path}")]
    for path in [path for path in paths if not _is_inside(path, declared)][:_MOST]:
        before = facts.get(path)
        if before is None and path in written:
            continue
        if before is not None and stat.S_ISLNK(before.mode):
            before = None  # what was read is not the link's text
        fact = replace(before, basis="traced") if before is not None else _look(path, project, digests, budget)
        if fact is not None:
            budget -= 0 if before is not None else fact.size
            found.append(fact)
    run.write_files(run.traced, Files(tuple(found), (_NATIVE,) if paths or found else ()))
    run.opened.unlink(missing_ok=True)


def inputs_of(run: RunDirectory) -> Optional[Files]:
    """Return the files a run read: those that were seen before it, as traced where they were really opened."""
    before, traced = run.read_files(run.inputs), run.read_files(run.traced)
    if before is None or traced is None:
        return before
    opened = {fact.path: fact for fact in traced.files}
    merged = [opened.pop(fact.path, fact) for fact in before.files]
    return replace(before, files=(*merged, *opened.values()), gaps=(*before.gaps, *traced.gaps))


def _opened(run: RunDirectory, project: str) -> Iterator[str]:
    """Yield what was opened, each once: relative to the project where it lies inside."""
    try:
        lines = run.opened.read_bytes().partition(b"\0\0")[2].split(b"\0")[:-1]
    except OSError:
        return
    for line in sorted(set(lines)):
        path = os.fsdecode(line)
        yield posixpath.relpath(path, project) if path.startswith(f"{project}/") else path


def _is_ours(path: str) -> bool:
    return not SKIPPED.isdisjoint(path.split("/")) or path.endswith((".pyc", ".pth")) or "site-packages/" in path


def _is_inside(path: str, declared: Collection[str]) -> bool:
    return any(path == one or path.startswith(f"{one.rstrip('/')}/") for one in declared)


def _look(path: str, project: str, digests: Digests, budget: int) -> Optional[FileFact]:
    """Look at a file that nobody had seen before it was opened: behind a link, or outside of the project."""
    place = path if posixpath.isabs(path) else f"{project}/{path}"
    try:
        status = os.stat(place)
        if not stat.S_ISREG(status.st_mode):
            return None
        sha256 = digests.of(place, status) if status.st_size <= budget else None
    except OSError:  # it was a temporary file
        return None
    return FileFact(path, status.st_size, sha256, "traced", mode=mode_of(status))
