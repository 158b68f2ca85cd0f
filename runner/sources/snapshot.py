"""Captures exactly the files a run executes: their bytes, a manifest that names them, and what git says of them."""

from __future__ import annotations

import json
import os
import posixpath
import stat
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.errors import SourceError
from runner.sources import walk, worktree
from runner.sources.fetch import Source
from runner.worker.facts import Gap, SourceFacts
from runner.worker.globs import matches
from runner.worker.hashing import sha256_of
from runner.worker.manifest import EXECUTABLE, FILE, SYMLINK, Entry, encode_manifest
from runner.worker.objects import Objects
from runner.worker.spec import Snapshot
from runner.worker.stat_cache import StatCache

SIZE_CAP = 100 * 1024 * 1024  # bytes of one file


@dataclass(frozen=True)
class Captured:
    """A snapshot, and what is known of where it is from."""

    snapshot: Snapshot
    facts: SourceFacts


def take(
    source: Source,
    objects: Objects,
    cache: StatCache,
    *,
    outputs: Sequence[str] = (),
    skip: Sequence[Path] = (),
    size_cap: int = SIZE_CAP,
) -> Captured:
    """Store what a source holds now. ``outputs``: globs relative to the project; ``skip``: the tool's own directories.

    The manifest is stored last, after every object it names: where a manifest is in the store, its objects are too.
    """
    avoid = [path.resolve() for path in skip]
    if not source.in_place:  # its run works in a fresh directory, which can be made of nothing but the store
        size_cap = sys.maxsize
    found = _found(source, outputs, avoid)
    capture = _Capture(os.fsencode(source.root), objects, cache if source.in_place else StatCache(None), size_cap)
    if source.in_place:
        cache.preload(source.root)
    project_file = _project_file(source.project)
    if project_file is not None:
        found.tracked.append(_joined(source.subdirectory, project_file))
    capture.look(sorted({*found.tracked, *found.untracked}))
    manifest = capture.store()
    facts = _facts(source, found, capture, project_file)
    if source.work_tree is not None:
        facts = _with_history(facts, source.work_tree, found, objects, cache)
    cache.save()
    kind = source.kind if capture.files or source.kind == "git" else "empty"
    snapshot = Snapshot(manifest, kind, source.subdirectory, facts.commit, facts.tree, facts.dirty, facts.url)
    return Captured(snapshot, facts)


@dataclass
class _File:
    """A file on its way into the manifest."""

    path: bytes
    mode: str
    size: int
    sha256: str | None  # None: to be read
    status: os.stat_result
    target: bytes | None = None  # of a symbolic link


class _Capture:
    """Reads what is new, stores it, and remembers what could not be."""

    def __init__(self, root: bytes, objects: Objects, cache: StatCache, size_cap: int) -> None:
        self.root, self.objects, self.cache, self.size_cap = root, objects, cache, size_cap
        self.files: list[_File] = []
        self.gaps: list[Gap] = []
        self.began = time.time()

    @property
    def not_stored(self) -> tuple[str, ...]:
        return tuple(os.fsdecode(file.path) for file in self.files if file.size > self.size_cap)

    def look(self, paths: Iterable[bytes]) -> None:
        """Take the state of each file; one that is gone by now is no part of the snapshot."""
        find, add, root = self.cache.find, self.files.append, self.root + b"/"
        for path in paths:
            place = root + path
            try:
                status = os.lstat(place)
                mode = status.st_mode
                if stat.S_ISREG(mode):
                    kind = EXECUTABLE if mode & stat.S_IXUSR else FILE
                    add(_File(path, kind, status.st_size, find(place, status), status))
                elif stat.S_ISLNK(mode):
                    target = os.readlink(place)
                    add(_File(path, SYMLINK, len(target), sha256_of(target), status, target))
                elif not stat.S_ISDIR(mode):
                    self._leave_out(path, "no regular file")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self._leave_out(path, error.strerror or "error")

    def store(self) -> str:
        """Store all bytes and return the manifest's digest."""
        for file in self.files:
            if file.sha256 is None:
                file.sha256 = self._ingested(file)
        manifest = self._manifest()
        digest = sha256_of(manifest)
        if self.objects.has(digest, len(manifest)):
            return digest  # and so is every object it names
        for file in self.files:
            if file.sha256 is not None and not self._is_there(file):
                file.sha256 = self._ingested(file)
        self.files = [file for file in self.files if file.sha256 is not None]
        self.objects.sync()
        digest = self.objects.add(self._manifest())
        self.objects.sync()
        return digest

    def _manifest(self) -> bytes:
        return encode_manifest(Entry(file.path, file.mode, file.sha256) for file in self.files if file.sha256)

    def _is_there(self, file: _File) -> bool:
        assert file.sha256 is not None
        return file.size > self.size_cap or self.objects.has(file.sha256, file.size)

    def _ingested(self, file: _File) -> str | None:
        """Read a file into the store; None, and a gap, where it cannot be read."""
        if file.target is not None:
            return self.objects.add(file.target)
        place = self.root + b"/" + file.path
        try:
            if file.size > self.size_cap:
                return self.cache.digest(os.fsdecode(place), file.status)
            sha256 = self.objects.add_file(os.fsdecode(place))
        except FileNotFoundError:
            return None
        except OSError as error:
            self._leave_out(file.path, error.strerror or str(error))
            return None
        self.cache.learn(os.fsdecode(place), file.status, sha256, since=self.began)
        return sha256

    def _leave_out(self, path: bytes, reason: str) -> None:
        self.gaps.append(Gap("code.snapshot", f"left out {os.fsdecode(path)!r}: {reason}"))


def _found(source: Source, outputs: Sequence[str], skip: Sequence[Path]) -> worktree.Contents:
    """Return the files to capture: those of the work tree as git lists them, else all there are."""
    if source.work_tree is not None:
        found = worktree.contents(source.work_tree, skip)
    else:
        files, gaps = walk.files(source.root, skip, everything=not source.in_place)
        found = worktree.Contents(gaps=gaps)
        if not source.in_place:
            found.tracked = files
            return found
        found.untracked = files
    inner = [path.relative_to(source.root) for path in skip if path.is_relative_to(source.root)]
    avoided = tuple(os.fsencode(path) + b"/" for path in inner)
    patterns = [posixpath.join(source.subdirectory, pattern) for pattern in outputs]
    found.untracked = [path for path in found.untracked if not _is_left_out(path, patterns, avoided)]
    found.dirty = bool(found.modified or found.untracked)
    return found


def _is_left_out(path: bytes, patterns: Sequence[str], avoided: tuple[bytes, ...]) -> bool:
    if path.startswith(avoided):
        return True
    name = os.fsdecode(path)
    return any(matches(pattern, name) for pattern in patterns)


def _facts(source: Source, found: worktree.Contents, capture: _Capture, project_file: bytes | None) -> SourceFacts:
    is_git = source.work_tree is not None
    digests = {file.path: file.sha256 for file in capture.files}
    name = None if project_file is None else _joined(source.subdirectory, project_file)
    return SourceFacts(
        kind=source.kind,
        root=str(source.root) if source.in_place else source.display,
        subdirectory=source.subdirectory,
        url=source.url,
        commit=source.commit,
        tree=source.tree,
        branch=source.branch,
        describe=source.describe,
        on_remote=source.on_remote,
        dirty=found.dirty if is_git else False if source.commit else None,
        modified=_names(found.modified) if is_git else (),
        untracked=_names(found.untracked) if is_git else (),
        submodules=(*source.submodules, *found.submodules),
        lfs=(*source.lfs, *found.lfs),
        not_stored=capture.not_stored,
        files=len(capture.files),
        bytes=sum(file.size for file in capture.files),
        project_file=None if project_file is None else os.fsdecode(project_file),
        project_file_sha256=None if name is None else digests.get(name),
        gaps=(*source.gaps, *found.gaps, *capture.gaps),
    )


def _with_history(
    facts: SourceFacts, work: worktree.WorkTree, found: worktree.Contents, objects: Objects, cache: StatCache
) -> SourceFacts:
    """Add what git's history says; it is remembered for as long as no ref moves: a long history takes long to ask."""
    key = sha256_of(b"%s %d\n%s" % ((work.commit or "").encode(), work.shallow, found.refs))
    known = cache.recall(key)
    if known is None:
        described, on_remote = worktree.describe(work)
        cache.remember(key, json.dumps([described, on_remote]))
    else:
        described, on_remote = json.loads(known)
    url = worktree.remote_url(work, found.settings)
    facts = replace(facts, url=url, describe=described, on_remote=on_remote)
    return _with_patch(facts, work, found, objects) if found.modified else facts


def _with_patch(facts: SourceFacts, work: worktree.WorkTree, found: worktree.Contents, objects: Objects) -> SourceFacts:
    """Add the patch against HEAD. The snapshot does not need it: where git cannot make one, that is a gap."""
    large = sorted({*facts.not_stored} & {*facts.modified})
    gaps = [Gap("code.patch", f"left out of the patch, above the size cap: {', '.join(large)}")] if large else []
    try:
        text = worktree.patch(work, found.settings, large)
        patch = objects.add(text) if text else None
        objects.sync()
    except SourceError as error:
        patch = None
        gaps.append(Gap("code.patch", error.message))
    return replace(facts, patch=patch, gaps=(*facts.gaps, *gaps))


def _project_file(project: Path) -> bytes | None:
    names = sorted(name for name in os.listdir(os.fsencode(project)) if name.lower() == b"mlproject")
    return names[0] if names else None


def _joined(subdirectory: str, name: bytes) -> bytes:
    return os.path.join(os.fsencode(subdirectory), name)


def _names(paths: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(sorted(os.fsdecode(path) for path in paths))
