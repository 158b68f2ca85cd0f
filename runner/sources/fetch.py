"""Gets a project's files to where they can be read: a local directory as it is, everything else as a temporary tree."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from runner.errors import MlrunError, SourceError
from runner.sources import worktree
from runner.sources.uri import Location, parse, strip_userinfo
from runner.worker.facts import Gap, Submodule
from runner.worker.values import dataclass

Say = Callable[[str], None]


def _say_nothing(_line: str) -> None:
    """Keep quiet: nobody asked to be told."""


@dataclass(frozen=True)
class Source:
    """A project's files, readable now. ``root`` is what a snapshot is taken of, ``project`` is where the project is."""

    kind: str  # git, directory, zip
    root: Path
    project: Path
    subdirectory: str  # of root, POSIX, "" for root itself
    in_place: bool  # the user's own directory: nothing was copied
    url: str | None  # without userinfo
    commit: str | None
    display: str
    work_tree: worktree.WorkTree | None = None  # in place, and git speaks for it
    tree: str | None = None
    branch: str | None = None
    describe: str | None = None
    on_remote: bool | None = None
    submodules: tuple[Submodule, ...] = ()
    lfs: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()


@contextlib.contextmanager
def fetch(
    uri: str, *, version: str | None = None, caller: Path, cache: Path, say: Say = _say_nothing
) -> Iterator[Source]:
    """Yield the source a URI names; what was made for it is removed when the context ends.

    A plain directory is yielded in place. A version of it, a git URI and a zip become a temporary tree in the cache.
    """
    location = parse(uri, caller)
    if version is not None and (not version or version.startswith("-") or "\0" in version):
        message = f"{version!r} is no version"
        raise SourceError(message, hint="give a branch, a tag or a commit")
    if location.kind == "directory" and version is None:
        yield _in_place(location)
        return
    from runner.sources import trees

    with trees.temporary(cache) as scratch, _called(scratch / "tree", location.display):
        yield _made(location, version, cache, scratch, say)


@contextlib.contextmanager
def _called(tree: Path, display: str) -> Iterator[None]:
    """Have errors name what the user gave, and not the temporary tree that was made of it."""
    try:
        yield
    except MlrunError as error:
        for each in (error, *getattr(error, "others", ())):
            for name in (str(tree), os.path.realpath(tree)):
                each.message, each.hint = (text.replace(name, display) for text in (each.message, each.hint))
            each.args = (each.message,)
        raise


def _in_place(location: Location) -> Source:
    assert location.path is not None
    root = _resolved(location.path)
    project = _project(root, location.subdirectory, location.display).resolve()
    try:
        work = worktree.locate(project)
    except SourceError as error:  # no git on this machine, but a repository: its facts are a gap, the run goes on
        work = Gap("code.commit", error.message)
    gaps = (work,) if isinstance(work, Gap) else ()
    if isinstance(work, worktree.WorkTree):
        if project.is_relative_to(work.top) and worktree.tracks(work, project):
            below = "" if project == work.top else os.fsdecode(project.relative_to(work.top))
            return Source("git", work.top, project, below, True, None, work.commit, str(project), work, work.tree,
                          work.branch, gaps=work.gaps)  # fmt: skip
        gaps = (Gap("code.commit", f"the directory lies in the git repository {str(work.top)!r}, which ignores it"),)
    # Without git the named directory is the whole: what lies above it is nobody's business.
    below = "" if project == root else os.path.relpath(project, root)
    return Source("directory", root, project, below, True, None, None, str(project), gaps=gaps)


def _made(location: Location, version: str | None, cache: Path, scratch: Path, say: Say) -> Source:
    tree = scratch / "tree"
    tree.mkdir()
    if location.kind == "zip":
        return _from_zip(location, version, scratch, say)
    if location.path is not None and location.kind == "directory":
        assert version is not None
        source = _from_work_tree(location, version, cache, scratch, say)
    else:
        source = _from_address(location, version, cache, scratch, say)
    return replace(source, project=_project(tree, source.subdirectory, location.display))


def _from_zip(location: Location, version: str | None, scratch: Path, say: Say) -> Source:
    from runner.sources import archive

    if version is not None:
        message = f"{location.display} is an archive: it has no version {version!r}"
        raise SourceError(message, hint="leave -v away, or give the git repository")
    path = location.path
    if path is None:
        path = scratch / "download.zip"
        archive.download(location.address, path, say)
    root = scratch / "tree"
    archive.extract(path, root, display=location.display)
    subdirectory = location.subdirectory or _only_directory(root)
    project = _project(root, subdirectory, location.display)
    url = None if location.path is not None else location.display
    return Source("zip", root, project, subdirectory, False, url, None, location.display)


def _from_work_tree(location: Location, version: str, cache: Path, scratch: Path, say: Say) -> Source:
    """Make the tree of a version out of the user's own repository, which is only read."""
    from runner.sources import checkout, repositories
    from runner.sources.git import ask, configuration, succeed

    assert location.path is not None
    directory = _resolved(location.path)
    work = worktree.locate(directory)
    if not isinstance(work, worktree.WorkTree):
        reason = f": {work.reason}" if isinstance(work, Gap) else ""
        message = f"{location.display} is not in a git repository, so it has no version {version!r}{reason}"
        raise SourceError(message, hint="leave -v away to run it as it is")
    git_dir = Path(os.fsdecode(succeed(ask(work.top, "rev-parse", "--absolute-git-dir")).stdout.removesuffix(b"\n")))
    revision = repositories.resolve(git_dir, version)
    if revision is None:
        message = f"{work.top} has no branch, tag or commit {version!r}"
        raise SourceError(message, hint="`git fetch` may bring it; mlrun changes nothing in your repository")
    settings = configuration(ask(work.top, "config", "--list", "-z").stdout)
    url = worktree.remote_url(work, settings)
    at = replace(work, commit=revision.commit, tree=None, branch=revision.branch)
    origin = checkout.Origin(git_dir, url or str(work.top), git_dir / "modules")
    made = checkout.Checkout(cache, scratch, say).make(origin, revision.commit, scratch / "tree")
    described, on_remote = worktree.describe(at)
    inner = "" if directory == work.top else os.fsdecode(directory.relative_to(work.top))
    subdirectory = "/".join(part for part in (inner, location.subdirectory) if part)
    root = scratch / "tree"
    return Source("git", root, root, subdirectory, False, url, revision.commit, location.display, None,
                  _tree_of(git_dir, revision.commit), revision.branch, described, on_remote, made.submodules,
                  made.lfs, made.gaps)  # fmt: skip


def _from_address(location: Location, version: str | None, cache: Path, scratch: Path, say: Say) -> Source:
    from runner.sources import checkout, repositories
    from runner.sources.git import inside

    root = scratch / "tree"
    revision, made = checkout.Checkout(cache, scratch, say).fetched(location.address, version, root)
    clone = repositories.repository(location.address, cache, say).path
    described = inside(clone, "describe", "--tags", "--always", revision.commit).text.strip() or None
    return Source("git", root, root, location.subdirectory, False, strip_userinfo(location.address), revision.commit,
                  location.display, None, _tree_of(clone, revision.commit), revision.branch, described, True,
                  made.submodules, made.lfs, made.gaps)  # fmt: skip


def _tree_of(git_dir: Path, commit: str) -> str | None:
    from runner.sources.git import inside

    return inside(git_dir, "rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}").text.strip() or None


def _project(root: Path, subdirectory: str, display: str) -> Path:
    """Return the project's directory, which a symbolic link may not lead out of the root."""
    if not subdirectory:
        return root
    project = (root / subdirectory).resolve()
    if not project.is_dir():
        message = f"{display} has no directory {subdirectory!r}"
        raise SourceError(message, hint=_directories(root))
    if not project.is_relative_to(root.resolve()):
        message = f"the subdirectory {subdirectory!r} leaves the project by a symbolic link"
        raise SourceError(message, hint="name the directory it leads to")
    return root / subdirectory


def _directories(root: Path) -> str:
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return f"it has: {', '.join(names[:10])}" if names else "it has no directories"


def _only_directory(root: Path) -> str:
    """Return the one directory that everything in an archive lies in, as in those that git hosts make."""
    entries = list(root.iterdir())
    return entries[0].name if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink() else ""


def _resolved(path: Path) -> Path:
    try:
        os.listdir(path)  # a directory that cannot be read is no project
        return path.resolve()
    except OSError as error:
        message = f"cannot read {str(path)!r}: {error.strerror}"
        raise SourceError(message, hint="check the directory's permissions") from None
