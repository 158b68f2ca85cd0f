"""The tree of a commit, made without a clone's ceremony: no hook, no filter and no submodule command ever runs."""

from __future__ import annotations

import os
import posixpath
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from runner.errors import SourceError
from runner.sources import lfs, repositories
from runner.sources.git import ask, configuration, inside, succeed, without_filters
from runner.sources.uri import GIT_SCHEMES, strip_userinfo
from runner.worker.facts import Gap, Submodule
from runner.worker.tools import Finished
from runner.worker.values import dataclass

_DEEPEST = 16  # submodules in submodules: more is a repository that contains itself
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://[^-]|[^-/:][^/:]*:(?!:|//)[^-]|/")
_DAMAGE = re.compile(r"unable to read|corrupt|missing (?:blob|tree)|bad (?:object|tree)|not a valid object|inflate")
# What decides the bytes is the repository (.gitattributes), never the configuration of whoever checks it out.
_SAME_EVERYWHERE = {
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.sparseCheckout": "false",
    "core.splitIndex": "false",
    "core.symlinks": "true",
    "core.fileMode": "true",
    "core.bare": "false",
}


@dataclass(frozen=True)
class Origin:
    """A repository to check out of, and the address that relative submodule URLs start from."""

    git_dir: Path
    address: str
    modules: Path | None = None  # where a user's own clone keeps its submodules' repositories
    depth: int = 0


@dataclass(frozen=True)
class CheckedOut:
    """What a tree holds beside the files of its commit."""

    submodules: tuple[Submodule, ...] = ()
    lfs: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()

    def __add__(self, other: CheckedOut) -> CheckedOut:
        """Return both together."""
        return CheckedOut(self.submodules + other.submodules, self.lfs + other.lfs, self.gaps + other.gaps)


@dataclass(frozen=True)
class Checkout:
    """Makes trees; submodules are fetched into the cache, index files stand in ``scratch``."""

    cache: Path
    scratch: Path
    say: Callable[[str], None]

    def make(self, origin: Origin, commit: str, tree: Path, prefix: str = "") -> CheckedOut:
        """Make the files of a commit in an empty directory, submodules at their commits and LFS files included."""
        index = self.scratch / f"index.{secrets.token_hex(4)}"
        listed = configuration(inside(origin.git_dir, "config", "--list", "-z").stdout)
        git = _Git(origin.git_dir, tree, index, _SAME_EVERYWHERE | without_filters(listed))
        git.run("read-tree", "-m", "-u", "--no-sparse-checkout", "--no-recurse-submodules", commit)
        listing = git.run("ls-files", "-s", "-z").stdout
        pointers = git.pointers(listing)
        gaps = lfs.smudge(tree, pointers, lfs.Origin(origin.git_dir, origin.address, commit, self.cache), self.say)
        made = CheckedOut((), tuple(prefix + name for name in pointers), gaps)
        gitlinks = list(_gitlinks(listing))
        declared = _declared(origin.git_dir, commit) if gitlinks else {}
        for path, wanted in gitlinks:
            made += self._submodule(origin, declared.get(path), wanted, tree / path, prefix + path)
        return made

    def _submodule(
        self, origin: Origin, declared: tuple[str, str] | None, commit: str, place: Path, path: str
    ) -> CheckedOut:
        if declared is None:
            reason = f"the nested repository {path!r} is at {commit[:12]}; .gitmodules does not say where it is from"
            return CheckedOut((Submodule(path, commit),), (), (Gap("code.submodules", reason),))
        name, url = declared
        address = _resolved(url, origin.address, path)
        if origin.depth >= _DEEPEST:
            message = f"the submodule {path!r} is {_DEEPEST} repositories deep"
            raise SourceError(message, hint="a repository that contains itself cannot be checked out")
        if place.resolve() != place or not place.is_dir():
            message = f"the submodule {path!r} lies behind a symbolic link"
            raise SourceError(message, hint="the repository was tampered with; do not run it")
        own = None if origin.modules is None or ".." in name.split("/") else origin.modules / name
        if own is not None and own.is_dir() and repositories.commit_of(own, commit):
            made = self.make(Origin(own, address, own / "modules", origin.depth + 1), commit, place, path + "/")
        else:
            made = self.fetched(address, commit, place, path + "/", depth=origin.depth + 1)[1]
        return CheckedOut((Submodule(path, commit, strip_userinfo(address)),)) + made

    def fetched(
        self, address: str, version: str | None, place: Path, prefix: str = "", *, depth: int = 0
    ) -> tuple[repositories.Revision, CheckedOut]:
        """Make the files of a version of a repository that is cloned into the cache; a damaged clone is made anew."""
        repository = repositories.repository(address, self.cache, self.say)
        origin = Origin(repository.path, address, None, depth)
        try:
            with repository.at(version) as revision:
                return revision, self.make(origin, revision.commit, place, prefix)
        except DamagedError:
            self.say(f"the cached clone of {repository.display} is damaged; fetching it again")
            repository.renew()
        _empty(place)
        with repository.at(version) as revision:
            return revision, self.make(origin, revision.commit, place, prefix)


class DamagedError(SourceError):
    """A repository that lacks objects of its own."""


@dataclass(frozen=True)
class _Git:
    """git over a repository and a tree that is not its own."""

    git_dir: Path
    tree: Path
    index: Path
    settings: Mapping[str, str]

    def run(self, *words: str) -> Finished:
        where = {"GIT_DIR": str(self.git_dir), "GIT_WORK_TREE": str(self.tree), "GIT_INDEX_FILE": str(self.index)}
        done = ask(self.tree, *words, settings=self.settings, **where)
        if done.code and _DAMAGE.search(done.complaint):
            message = f"the repository is damaged: {done.complaint.splitlines()[0]}"
            raise DamagedError(message, hint="`git fsck` says more")
        return succeed(done)

    def pointers(self, listing: bytes) -> tuple[str, ...]:
        """Return the files that git LFS keeps elsewhere."""
        attributes = [line.partition(b"\t")[2] for line in listing.split(b"\0") if line.endswith(b".gitattributes")]
        if not lfs.is_named_in(self.tree, attributes):
            return ()
        names = self.run("ls-files", "-z", "--", lfs.PATHSPEC).stdout.split(b"\0")[:-1]
        return tuple(os.fsdecode(name) for name in names)


def _gitlinks(listing: bytes) -> Iterator[tuple[str, str]]:
    for line in listing.split(b"\0"):
        if line.startswith(b"160000 "):
            head, _, path = line.partition(b"\t")
            yield os.fsdecode(path), head.split(b" ")[1].decode("ascii")


def _declared(git_dir: Path, commit: str) -> dict[str, tuple[str, str]]:
    """Return path -> (name, URL) of the submodules that .gitmodules declares."""
    done = inside(git_dir, "config", "--blob", f"{commit}:.gitmodules", "--list", "-z")
    values = configuration(done.stdout) if done.code == 0 else {}
    names = [key[len("submodule.") : -len(".path")] for key in values if re.fullmatch(r"(?s)submodule\..*\.path", key)]
    pairs = {values[f"submodule.{name}.path"]: (name, values.get(f"submodule.{name}.url", "")) for name in names}
    return {path: pair for path, pair in pairs.items() if pair[1]}


def _resolved(url: str, parent: str, path: str) -> str:
    """Return a submodule's address; a server's repository may not send us to files of this machine."""
    address = _relative(url, parent) if url.startswith(("./", "../")) else url
    form = _ADDRESS.match(address)
    if form is None or (form[1] and form[1].lower() not in GIT_SCHEMES):
        message = f"the submodule {path!r} has an address that git must not be given: {strip_userinfo(address)!r}"
        raise SourceError(message, hint="an address is like https://example.org/team/project.git")
    if _is_local(address) and not _is_local(parent):
        message = f"the submodule {path!r} of {strip_userinfo(parent)} points into this machine: {address!r}"
        raise SourceError(message, hint="do not run this repository unless you know why it does so")
    return address


def _relative(url: str, parent: str) -> str:
    """Join as git does: `../` takes one component off, in an scp-like address down to its colon."""
    head, separator, tail = parent.rstrip("/").rpartition("://")
    host, slash, path = tail.partition("/") if separator else _scp_parts(tail)
    joined = posixpath.normpath(posixpath.join("/" + path, url)).lstrip("/")
    return f"{head}{separator}{host}{slash}{joined}"


def _scp_parts(address: str) -> tuple[str, str, str]:
    if address.startswith("/"):
        return "", "/", address[1:]
    return address.partition(":")


def _is_local(address: str) -> bool:
    return address.startswith("/") or address.lower().startswith("file:")


def _empty(directory: Path) -> None:
    import shutil

    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
