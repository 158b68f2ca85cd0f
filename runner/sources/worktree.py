"""A user's own work tree, as git and the file system have it now; nothing in it is written, not even an index."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from runner.sources import lfs
from runner.sources.git import ask, ask_all, configuration, last_words, succeed, without_filters
from runner.sources.uri import strip_userinfo
from runner.sources.walk import SKIPPED, virtual_environments
from runner.worker.facts import Gap, Submodule

# `git diff` writes the index it finds out of date, whatever GIT_OPTIONAL_LOCKS says; these two do not.
_STATUS = ("status", "--porcelain=v2", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules=dirty")
# Every option that configuration could turn is given: the patch is the same whoever makes it.
_PATCH = ("diff-index", "--patch", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv",
          "--no-renames", "--no-relative", "--ignore-submodules=dirty", "--src-prefix=a/", "--dst-prefix=b/",
          "--diff-algorithm=myers", "--unified=3", "--inter-hunk-context=0", "--submodule=short",
          "-O/dev/null")  # fmt: skip
_FIELDS = {b"1": 8, b"u": 10}  # of a line of `git status --porcelain=v2`, before the path


@dataclass(frozen=True)
class WorkTree:
    """A checked-out repository and what its HEAD is."""

    top: Path
    commit: str | None
    tree: str | None
    branch: str | None
    shallow: bool
    base: str  # what differences are taken against: HEAD's commit, or the empty tree where there is none yet
    gaps: tuple[Gap, ...] = ()


@dataclass
class Contents:
    """The files of a work tree, relative to its top, and what git says of them."""

    tracked: list[bytes] = field(default_factory=list)
    untracked: list[bytes] = field(default_factory=list)
    modified: list[bytes] = field(default_factory=list)
    submodules: list[Submodule] = field(default_factory=list)
    lfs: list[str] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)  # the repository's configuration
    refs: bytes = b""
    dirty: bool = False


def locate(directory: Path) -> WorkTree | Gap | None:
    """Return the work tree a directory is in; None where there is none, a Gap where git will not say.

    ``directory`` is resolved: git answers relative to it, so that any byte may stand in a path.
    """
    if not any(os.path.lexists(parent / ".git") for parent in (directory, *directory.parents)):
        return None
    done = ask(directory, "rev-parse", "--is-inside-work-tree", "--is-shallow-repository", "--show-cdup",
               "HEAD^{commit}", "HEAD^{tree}", "--symbolic-full-name", "HEAD")  # fmt: skip
    lines = done.text.split("\n")
    if lines[0] != "true":
        return _refusal(done.complaint, last_words(done))
    top = Path(os.path.normpath(directory / lines[2]))
    if done.code == 0:
        branch = lines[5].removeprefix("refs/heads/") if lines[5].startswith("refs/heads/") else None
        return WorkTree(top, lines[3], lines[4], branch, lines[1] == "true", lines[3])
    head = ask(directory, "symbolic-ref", "--quiet", "--short", "HEAD").text.strip() or None
    unborn = re.search(r"unknown revision|ambiguous argument", done.complaint)
    reason = "the repository has no commit yet" if unborn else f"git cannot read HEAD: {last_words(done)}"
    empty = succeed(ask(directory, "hash-object", "-t", "tree", "/dev/null")).text.strip()
    return WorkTree(top, None, None, head, lines[1] == "true", empty, (Gap("code.commit", reason),))


def tracks(work: WorkTree, project: Path) -> bool:
    """Whether the repository speaks for the project: not where its directory is ignored, and nothing of it tracked.

    A repository of the whole home directory speaks only for what it tracks.
    """
    if project == work.top:
        return True
    requests = [("check-ignore", "--quiet", "--", str(project)), ("ls-files", "-z", "--", str(project))]
    ignored, listed = ask_all(work.top, *requests)
    sweeping = work.top in (Path.home(), Path("/"))
    return bool(listed.stdout) or not (ignored.code == 0 or sweeping)


def contents(work: WorkTree, skip: Iterable[Path] = ()) -> Contents:
    """Return what is in a work tree, its submodules and nested repositories included."""
    listing = ["ls-files", "-z", "-v", "-s", "-c", "-o", "--exclude-standard", *_pruned(work.top, skip)]
    requests = [("config", "--list", "-z"), listing, ("for-each-ref", "--format=%(objectname) %(refname)")]
    configured, listed, refs = ask_all(work.top, *requests)
    found = Contents(settings=configuration(succeed(configured).stdout), refs=succeed(refs).stdout)
    index = _Index(succeed(listed).stdout)
    unread = [line for line in listed.complaint.splitlines() if "could not open directory" in line]
    found.gaps += [Gap("code.snapshot", f"left out what git cannot list: {line}") for line in unread]
    changed, gone = _changes(work, found.settings)
    found.tracked = [path for path in index.tracked if path not in gone]
    found.untracked = virtual_environments(index.untracked)
    found.modified = sorted({*changed, *_hidden_changes(work.top, index, found)})
    found.dirty = bool(found.modified or found.untracked)
    _add_lfs(work.top, found)
    for path, commit in index.gitlinks:
        _add_submodule(work.top, path, commit, found, skip)
    for path in [path for path in found.untracked if path.endswith(b"/")]:
        _add_nested(work.top, path, found, skip)
    return found


def patch(work: WorkTree, settings: dict[str, str], left_out: Iterable[str] = ()) -> bytes:
    """Return the binary patch that makes the tracked files out of HEAD's; `git apply` takes it."""
    without = [f":(top,literal,exclude){path}" for path in left_out]
    words = (*_PATCH, work.base, "--", *([":(top)", *without] if without else []))
    return succeed(ask(work.top, *words, settings=without_filters(settings))).stdout


def describe(work: WorkTree) -> tuple[str | None, bool | None]:
    """Return how git describes HEAD, and whether a remote branch known here holds it."""
    if work.commit is None:
        return None, None
    described, held = ask_all(
        work.top,
        ("describe", "--tags", "--always", work.commit),
        ("for-each-ref", "--contains", work.commit, "--count=1", "--format=%(refname)", "refs/remotes"),
    )
    return described.text.strip() or None, bool(held.stdout.strip()) if held.code == 0 else None


def remote_url(work: WorkTree, settings: dict[str, str]) -> str | None:
    """Return the URL of the branch's remote, else origin's, else the only one's; without userinfo."""
    urls = {key[len("remote.") : -len(".url")]: value for key, value in settings.items()
            if key.startswith("remote.") and key.endswith(".url")}  # fmt: skip
    preferred = [settings.get(f"branch.{work.branch}.remote", ""), "origin", *(urls if len(urls) == 1 else ())]
    return next((strip_userinfo(urls[name]) for name in preferred if name in urls), None)


class _Index:
    """The answer of `ls-files -z -v -s -c -o`: letter, mode, object, stage, path; letter and path of untracked ones."""

    def __init__(self, listing: bytes) -> None:
        self.tracked: list[bytes] = []
        self.untracked: list[bytes] = []
        self.hidden: list[tuple[bytes, bytes, bytes]] = []  # path, mode, object: git is told not to look at them
        self.absent = 0
        self.gitlinks: list[tuple[bytes, str]] = []
        last = None
        for item in listing.split(b"\0"):
            if item[:1] == b"?":
                self.untracked.append(item[2:])
            elif item:
                head, path = item.split(b"\t", 1)
                if path != last:  # an unmerged path comes once for each stage
                    self._add(head, path)
                last = path

    def _add(self, head: bytes, path: bytes) -> None:
        if head[2:8] == b"160000":
            self.gitlinks.append((path, head.split(b" ")[2].decode("ascii")))
            return
        self.tracked.append(path)
        if head[:1] == b"S" or head[:1].islower():
            self.hidden.append((path, head[2:8], head.split(b" ")[2]))


def _refusal(complaint: str, words: str) -> Gap | None:
    if "dubious ownership" in complaint:
        reason = "git will not read a repository that belongs to another user; `git config safe.directory` allows it"
        return Gap("code.commit", reason)
    return None if "not a git repository" in complaint or not complaint else Gap("code.commit", f"git refuses: {words}")


def _pruned(top: Path, skip: Iterable[Path]) -> list[str]:
    """Return the options that keep git from walking what no snapshot holds."""
    below = [os.fsdecode(path.relative_to(top)) for path in skip if path != top and path.is_relative_to(top)]
    escaped = ["/" + re.sub(r"([\\*?\[\]!# ])", r"\\\1", path) for path in below]
    return [f"--exclude={pattern}" for pattern in [*(f"{name}/" for name in sorted(SKIPPED)), *escaped]]


def _changes(work: WorkTree, settings: dict[str, str]) -> tuple[set[bytes], set[bytes]]:
    """Return what differs from HEAD, by content where the times differ, and what is gone from the work tree."""
    answer = succeed(ask(work.top, *_STATUS, settings=without_filters(settings))).stdout
    changed, gone = set(), set()
    for line in answer.split(b"\0")[:-1]:
        path = line.split(b" ", _FIELDS[line[:1]])[-1]
        changed.add(path)
        if line[:1] == b"1" and line[3:4] == b"D":
            gone.add(path)
    return changed, gone


def _hidden_changes(top: Path, index: _Index, found: Contents) -> list[bytes]:
    """Look at what git is told not to look at (assume-unchanged, skip-worktree): a run reads it all the same."""
    changed: list[bytes] = []
    absent = 0
    for path, mode, blob in index.hidden:
        place = os.path.join(os.fsencode(top), path)
        if not os.path.lexists(place):
            absent += 1
        elif mode != b"120000" and succeed(ask(top, "hash-object", "--", path)).stdout.strip() != blob:
            changed.append(path)
    if absent:
        found.gaps.append(Gap("code.snapshot", f"a sparse checkout: {absent} tracked files are not in the work tree"))
    if changed:
        names = ", ".join(os.fsdecode(path) for path in changed)
        found.gaps.append(Gap("code.patch", f"changed, but git is told not to look (update-index): {names}"))
    return changed


def _add_lfs(top: Path, found: Contents) -> None:
    attributes = [path for path in found.tracked if path.endswith(b".gitattributes")]
    if lfs.is_named_in(top, attributes):
        names = succeed(ask(top, "ls-files", "-z", "--", lfs.PATHSPEC)).text.split("\0")[:-1]
        found.lfs += names
        found.gaps += lfs.unresolved(top, names)


def _add_submodule(top: Path, path: bytes, recorded: str, found: Contents, skip: Iterable[Path]) -> None:
    name = os.fsdecode(path)
    inner = _repository_at(top / name)
    if inner is None:
        found.gaps.append(Gap("code.submodules", f"the submodule {name!r} is not checked out: its files are missing"))
        found.submodules.append(Submodule(name, recorded))
        return
    held = contents(inner, skip)
    found.submodules.append(Submodule(name, inner.commit or recorded, remote_url(inner, held.settings)))
    found.submodules += [Submodule(f"{name}/{sub.path}", sub.commit, sub.url) for sub in held.submodules]
    found.tracked += _below(path, held.tracked)
    found.untracked += _below(path, held.untracked)
    found.modified += _below(path, held.modified)
    found.lfs += [f"{name}/{inside}" for inside in held.lfs]
    found.gaps += held.gaps
    found.dirty = found.dirty or held.dirty


def _add_nested(top: Path, path: bytes, found: Contents, skip: Iterable[Path]) -> None:
    """Take in a repository that lies in this one and is no submodule: its files count as untracked ones."""
    found.untracked.remove(path)
    name = os.fsdecode(path.rstrip(b"/"))
    inner = _repository_at(top / name)
    if inner is None:
        found.gaps.append(Gap("code.untracked", f"left out the nested repository {name!r}: git cannot read it"))
        return
    held = contents(inner, skip)
    found.untracked += _below(path.rstrip(b"/"), [*held.tracked, *held.untracked])
    at = f"at commit {inner.commit[:12]}" if inner.commit else "without a commit"
    found.gaps.append(Gap("code.untracked", f"a nested repository {at} is taken by its files: {name!r}"))
    found.gaps += held.gaps


def _repository_at(directory: Path) -> WorkTree | None:
    found = locate(directory) if os.path.lexists(directory / ".git") and not directory.is_symlink() else None
    return found if isinstance(found, WorkTree) and found.top == directory else None


def _below(directory: bytes, paths: Iterable[bytes]) -> list[bytes]:
    return [directory + b"/" + path for path in paths]
