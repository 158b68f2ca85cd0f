"""Bare clones in the cache, one for each address: locked while they change, made anew when they are damaged."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.errors import SourceError
from runner.sources import credentials, trees
from runner.sources.git import inside, last_words, talk
from runner.sources.uri import strip_userinfo
from runner.worker.files import note_use
from runner.worker.tools import Finished
from runner.worker.values import dataclass

_FULL_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT_SHA = re.compile(r"[0-9a-fA-F]{4,64}")
_HEAD = "refs/mlrun/HEAD"
_FETCH = ("fetch", "--progress", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--force")
_EVERYTHING = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


@dataclass(frozen=True)
class Revision:
    """A commit, and the branch it was asked by where that is known."""

    commit: str
    branch: str | None = None


@dataclass(frozen=True)
class Repository:
    """The cached clone of an address, which may hold credentials: they are never written down."""

    address: str
    path: Path
    say: Callable[[str], None]

    @property
    def display(self) -> str:
        """The address without userinfo."""
        return strip_userinfo(self.address)

    @contextlib.contextmanager
    def at(self, version: str | None) -> Iterator[Revision]:
        """Hold the clone still, with what ``version`` names in it; it is fetched where it is not there already."""
        revision = self._known(version)
        while True:
            if revision is not None:
                with trees.locked(self._lock, shared=True):
                    if self._has(revision.commit):  # another process may have found the clone damaged meanwhile
                        note_use(self.path)
                        yield revision
                        return
            with trees.locked(self._lock):
                revision = self._known(version) or self._fetched(version)

    def renew(self) -> None:
        """Throw the clone away: it is damaged, and the next use makes it anew."""
        with trees.locked(self._lock):
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def _lock(self) -> Path:
        return self.path.with_suffix(".lock")

    def _known(self, version: str | None) -> Revision | None:
        """Return what can be answered without the network: a commit by its sha, which never means another one."""
        if version is None or not _SHORT_SHA.fullmatch(version) or not self.path.is_dir():
            return None
        if not _FULL_SHA.fullmatch(version.lower()) and resolve_name(self.path, version) is not None:
            return None  # a branch or tag that looks like a short sha moves
        commit = commit_of(self.path, version)
        return None if commit is None else Revision(commit)

    def _has(self, commit: str) -> bool:
        return self.path.is_dir() and commit_of(self.path, commit) is not None

    def _fetched(self, version: str | None) -> Revision:
        """Bring everything up to date and return what ``version`` is now. The lock is held."""
        wanted = _EVERYTHING if version else (*_EVERYTHING, f"+HEAD:{_HEAD}")
        done = self._fetch(*wanted)
        if done.code and self.path.is_dir() and self._is_damaged():
            shutil.rmtree(self.path, ignore_errors=True)
            done = self._fetch(*wanted)
        if done.code:
            raise self._refused(done)
        revision = resolve(self.path, version) if version else self._head()
        if revision is None and version and _FULL_SHA.fullmatch(version.lower()):
            self._fetch(
                f"+{version.lower()}:refs/mlrun/{version.lower()}", prune=False
            )  # on no branch: servers may give it by name
            revision = resolve(self.path, version.lower())
        if revision is None:
            raise self._not_there(version)
        return revision

    def _fetch(self, *specs: str, prune: bool = True) -> Finished:
        """Fetch into the clone; a new one is made aside and moved in when it is whole."""
        target = self.path if self.path.is_dir() else self.path.with_suffix(".new")
        if target != self.path:
            shutil.rmtree(target, ignore_errors=True)  # of a process that was killed
            trees.make(target)
            made = inside(target, "init", "--quiet", "--bare", "--template=")
            if made.code:
                return made
        self.say(f"fetching {self.display}")
        from runner.sources.progress import listener

        with credentials.outside(self.address, self.path.parent) as (address, settings, variables):
            words = (*_FETCH, *(["--prune"] if prune else []), "--", address, *specs)
            done = talk(target, *words, say=listener(self.say), settings=settings, GIT_DIR=str(target), **variables)
        if target != self.path:
            if done.code:
                shutil.rmtree(target, ignore_errors=True)
            else:
                target.rename(self.path)
        return done

    def _head(self) -> Revision | None:
        commit = commit_of(self.path, _HEAD)
        if commit is None:
            return None
        listing = inside(self.path, "for-each-ref", "--points-at", commit, "--format=%(refname)", "refs/heads")
        branches = [name.removeprefix("refs/heads/") for name in listing.text.split()]
        usual = [name for name in branches if name in ("main", "master")] or branches
        return Revision(commit, usual[0] if len(usual) == 1 else None)

    def _is_damaged(self) -> bool:
        return inside(self.path, "fsck", "--connectivity-only", "--no-dangling", "--no-progress").code != 0

    def _refused(self, done: Finished) -> SourceError:
        words = strip_userinfo(last_words(done))
        if "couldn't find remote ref HEAD" in words or "could not find remote ref HEAD" in words:
            message = f"{self.display} has no default branch: it is empty, or its HEAD names a branch that is not there"
            return SourceError(message, hint="name a branch with -v, or push a first commit")
        message = f"cannot fetch {self.display}: {words}"
        hint = "check the address and that `git ls-remote` reaches it from a terminal; credentials are git's own"
        if self.path.is_dir():
            hint += "; a full commit sha with -v needs no network once it was fetched"
        return SourceError(message, hint=hint)

    def _not_there(self, version: str | None) -> SourceError:
        import difflib

        message = f"{self.display} has no branch, tag or commit {version!r}"
        listing = inside(self.path, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags").text.split()
        names = [name.split("/", 2)[2] for name in listing]
        near = difflib.get_close_matches(version or "", names, 5, 0.5) or names[:5]
        return SourceError(message, hint=f"there are: {', '.join(near)}" if near else "it has no branches and no tags")


def repository(address: str, cache: Path, say: Callable[[str], None]) -> Repository:
    """Return the clone of an address; credentials in it are no part of its name."""
    place = trees.make(cache / "repositories")
    return Repository(address, place / hashlib.sha256(strip_userinfo(address).encode()).hexdigest(), say)


def resolve(git_dir: Path, version: str) -> Revision | None:
    """Return what a version names in a repository: a branch first, as `git checkout` has it, then a tag, then a sha."""
    if version.startswith("-"):
        return None
    named = resolve_name(git_dir, version)
    if named is not None:
        return named
    commit = commit_of(git_dir, version)
    return None if commit is None else Revision(commit)


def resolve_name(git_dir: Path, version: str) -> Revision | None:
    """Return the commit of a branch or tag."""
    branch = commit_of(git_dir, f"refs/heads/{version}")
    if branch is not None:
        return Revision(branch, version)
    tag = commit_of(git_dir, f"refs/tags/{version}")
    return None if tag is None else Revision(tag)


def commit_of(git_dir: Path, name: str) -> str | None:
    """Return the commit that a revision stands for, None where there is none."""
    done = inside(git_dir, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return done.text.strip() if done.code == 0 else None
