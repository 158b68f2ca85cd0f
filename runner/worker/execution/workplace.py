"""Where a run works: the project's own directory, or a fresh one made from the snapshot and the declared inputs."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Optional

from runner.errors import IntegrityError, MlrunError, SourceError
from runner.worker.execution.progress import Say
from runner.worker.facts import Placement, SourceFacts
from runner.worker.globs import expand, leads_back
from runner.worker.manifest import Entry, decode_manifest, materialise
from runner.worker.objects import Objects, clone_or_copy
from runner.worker.rundir import RunDirectory
from runner.worker.spec import Input, RunSpec
from runner.worker.values import dataclass

_LARGE = 1 << 28  # bytes: an input above this is worth a word while it is copied


@dataclass(frozen=True)
class Workplace:
    """A directory that is ready for the command."""

    root: Path  # what the snapshot's paths are relative to
    project: Path  # where the command runs
    fresh: bool
    entries: tuple[Entry, ...]  # of the snapshot
    places: Mapping[str, str] = field(default_factory=dict)  # Input.name -> where it lies here


def set_up(run: RunDirectory, spec: RunSpec, placement: Placement, objects: Objects, say: Say) -> Workplace:
    """Return the workplace of a run, made where it has to be; IntegrityError or SourceError where it cannot be."""
    entries = decode_manifest(objects.read(spec.snapshot.manifest))
    if placement.root is None:
        run.work.mkdir()
        _unpack(run, entries, objects, run.work)
    root = run.work if placement.root is None else Path(placement.root)
    project = root / spec.snapshot.subdirectory
    if placement.root is None:
        named = {each.name for each in spec.inputs}
        observed = (Input(path, path) for path in placement.inputs if path not in named)  # by the run that is repeated
        for each in (*spec.inputs, *observed):
            _bring(each, placement.inputs.get(each.name), project, root, say)
        project.mkdir(parents=True, exist_ok=True)  # a snapshot holds no empty directory
        for path in placement.directories:
            _make(project / path, root)
    return _workplace(spec, placement, root, entries)


def find_again(run: RunDirectory, spec: RunSpec, placement: Placement, objects: Objects) -> Workplace:
    """Return the workplace that was set up for a run on another machine of the same file system."""
    entries = decode_manifest(objects.read(spec.snapshot.manifest))
    return _workplace(spec, placement, run.work if placement.root is None else Path(placement.root), entries)


def _workplace(spec: RunSpec, placement: Placement, root: Path, entries: tuple[Entry, ...]) -> Workplace:
    project = root / spec.snapshot.subdirectory
    if not project.is_dir():
        message = f"the project's directory {project} is not there"
        raise SourceError(message, hint="it was moved or removed after the run was planned; run it again")
    places = {each.name: place_of(each, project, placement) for each in spec.inputs}
    return Workplace(root, project, placement.root is None, entries, places)


def place_of(each: Input, project: Path, placement: Placement) -> str:
    """Return where an input lies on this host."""
    if posixpath.isabs(each.path):
        return placement.inputs.get(each.name, each.path)
    inside = str(project / each.path)
    return inside if placement.root is None else placement.inputs.get(each.name, inside)


def _unpack(run: RunDirectory, entries: tuple[Entry, ...], objects: Objects, work: Path) -> None:
    source = run.find(SourceFacts)
    large = {os.fsencode(path) for path in source.not_stored} if source is not None else set()
    absent = [entry for entry in entries if entry.path in large and not objects.has(entry.sha256)]
    missing = set(absent)
    materialise([entry for entry in entries if entry not in missing], objects, work)
    for entry in absent:
        _fetch_large(entry, None if source is None else source.root, work)


def _fetch_large(entry: Entry, root: Optional[str], work: Path) -> None:
    """Copy a file that the snapshot names but was too large to store, if it is still what it was."""
    from runner.worker.hashing import sha256_of_file

    name = os.fsdecode(entry.path)
    target = work / name
    origin = Path(root or "") / name
    try:
        if not origin.is_absolute():
            raise FileNotFoundError
        target.parent.mkdir(parents=True, exist_ok=True)
        clone_or_copy(origin, target)
        same = sha256_of_file(target) == entry.sha256
    except OSError:
        message = f"{name} was too large to be stored, and is not at its place any more ({origin})"
        raise SourceError(message, hint="bring it back, or raise the size cap and run again from the source") from None
    if not same:
        message = f"{name} was too large to be stored, and has changed since ({origin})"
        raise IntegrityError(message, hint="bring the old bytes back, or run again from the source")


def _bring(each: Input, origin: Optional[str], project: Path, root: Path, say: Say) -> None:
    """Copy an input that lies inside the project to its place in a fresh directory; the snapshot's files stand."""
    if origin is None or posixpath.isabs(each.path):
        return
    inside = os.path.normpath(project / each.path)
    if not f"{inside}/".startswith(f"{root}/"):
        message = f"the input {each.path!r} lies outside of the snapshot"
        raise MlrunError(message, hint="give it as a `path` parameter, or run in place")
    for source, target in _copies(each.path, origin, project):
        if os.path.lexists(target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(source, target, say)


def _make(directory: Path, root: Path) -> None:
    """Make an empty directory that lay where the snapshot was taken; what the snapshot has instead stands."""
    real = os.path.realpath(directory)
    if not os.path.lexists(directory) and real.startswith(f"{os.path.realpath(root)}/"):
        with suppress(FileExistsError, NotADirectoryError):
            os.makedirs(real)


def _copies(path: str, origin: str, project: Path) -> Iterator[tuple[Path, Path]]:
    base = origin[: -len(path)] if origin.endswith(f"/{path}") else None
    if base is not None:
        names = expand(Path(base), path, follow=not os.path.isdir(origin))
        yield from ((Path(base) / name, project / name) for name in names)
    elif os.path.isdir(origin):
        yield from ((Path(origin) / name, project / path / name) for name in expand(Path(origin), "."))
    elif os.path.lexists(origin):
        yield Path(origin), project / path


def _copy(source: Path, target: Path, say: Say) -> None:
    if not os.path.exists(source):  # a link to nowhere, or in a circle
        os.symlink(os.readlink(source), target)
        return
    status = os.stat(source)
    if stat.S_ISDIR(status.st_mode):  # a symlink to a directory: what lies behind it may be all the world's data
        back = leads_back(str(source), "/")
        os.symlink(os.readlink(source) if back else os.path.realpath(source), target)
        return
    if not stat.S_ISREG(status.st_mode):  # a pipe, a socket: there are no bytes to bring, and to open it may not end
        return
    if status.st_size > _LARGE:
        say(f"copying {source.name} ({status.st_size / 1e9:.1f} GB)")
    clone_or_copy(source, target)


def tear_down(work: Path) -> None:
    """Remove a fresh directory, also where the command took the right to do so away; what resists is left."""
    import shutil

    def permit(_: object, path: str, __: object) -> None:
        try:
            os.chmod(os.path.dirname(path), 0o700)
            os.chmod(path, 0o700)
            os.unlink(path) if not os.path.isdir(path) else os.rmdir(path)
        except OSError:
            return

    for _attempt in range(2):  # the first gives the rights back, the second removes what they kept
        if work.exists():
            shutil.rmtree(work, onerror=permit)
