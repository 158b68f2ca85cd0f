"""Git LFS: which files it keeps elsewhere, and their bytes in place of the pointers, by digest."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from runner.sources import credentials, trees
from runner.sources.git import ask, inside, last_words, talk
from runner.worker.facts import Gap
from runner.worker.files import note_use
from runner.worker.objects import clone_or_copy
from runner.worker.values import dataclass

PATHSPEC = ":(top,attr:filter=lfs)"
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")
_SHOWN = 10
_LONGEST_POINTER = 1024  # bytes, by git LFS's own specification


@dataclass(frozen=True)
class Origin:
    """Where the bytes may be: beside a repository, in the cache, or at an address."""

    git_dir: Path
    address: str
    commit: str
    cache: Path


def is_named_in(root: Path, attributes: Iterable[bytes]) -> bool:
    """Whether one of these .gitattributes files gives anything to LFS."""
    for name in attributes:
        try:
            if b"filter=lfs" in Path(os.fsdecode(os.path.join(os.fsencode(root), name))).read_bytes():
                return True
        except OSError:
            continue
    return False


def pointer(path: Path) -> str | None:
    """Return the digest that a file points to; None where it is no pointer but the bytes themselves."""
    try:
        if path.is_symlink() or path.stat().st_size > _LONGEST_POINTER:
            return None
        match = _POINTER.match(path.read_bytes())
    except OSError:
        return None
    return match[1].decode("ascii") if match else None


def unresolved(root: Path, names: Sequence[str]) -> tuple[Gap, ...]:
    """Return the gap that names the files which are pointers still."""
    left = [name for name in names if pointer(root / name)]
    return _gap(left, "`git lfs pull` fetches them") if left else ()


def smudge(tree: Path, names: Sequence[str], origin: Origin, say: Callable[[str], None]) -> tuple[Gap, ...]:
    """Put the bytes of LFS files in the place of their pointers; what cannot be had stays a pointer, and a gap."""
    missing = _place(tree, names, origin)
    if not missing:
        return ()
    if shutil.which("git-lfs") is None:
        return _gap(missing, "git-lfs is not installed")
    complaint = _download(tree, origin, say)
    missing = _place(tree, missing, origin)
    return _gap(missing, complaint or "the server does not have them") if missing else ()


def _place(tree: Path, names: Sequence[str], origin: Origin) -> list[str]:
    """Copy what is on this machine, checked; return the files that are pointers still."""
    return [name for name in names if (oid := pointer(tree / name)) and not _replace(tree / name, oid, origin)]


def _replace(path: Path, oid: str, origin: Origin) -> bool:
    cached = _storage(origin.cache)
    for place in (cached, _common(origin.git_dir)):
        stored = place / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
        if stored.is_file() and _sha256(stored) == oid:
            if place == cached:
                note_use(stored)
            mode = path.stat().st_mode & 0o777
            path.unlink()
            clone_or_copy(stored, path)
            path.chmod(mode)
            return True
    return False


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _common(git_dir: Path) -> Path:
    """Return the git directory that a linked worktree shares with the others."""
    try:
        return git_dir / os.fsdecode((git_dir / "commondir").read_bytes().removesuffix(b"\n"))
    except OSError:
        return git_dir


def _storage(cache: Path) -> Path:
    """Return the bare repository in the cache that git-lfs downloads into, for all repositories."""
    return cache / "lfs.git"


def _download(tree: Path, origin: Origin, say: Callable[[str], None]) -> str:
    """Have git-lfs fetch a commit's files into the cache; return its complaint, "" where it has none."""
    storage = trees.make(_storage(origin.cache))
    made = inside(storage, "init", "--quiet", "--bare", "--template=")
    if made.code:
        return last_words(made)
    say("fetching the files that git LFS keeps")
    borrowed = {"GIT_DIR": str(storage), "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(_common(origin.git_dir) / "objects")}
    with credentials.outside(origin.address, storage) as (address, settings, variables):
        where = {"remote.mlrun.url": address, **_declared_server(tree), **settings}
        words = ("lfs", "fetch", "mlrun", origin.commit)
        done = talk(storage, *words, say=_silent, settings=where, **borrowed, **variables)
    return last_words(done) if done.code else ""


def _declared_server(tree: Path) -> dict[str, str]:
    """Return the server that a repository's .lfsconfig names: only that, and only where it is one on the web."""
    done = ask(tree, "config", "--file", ".lfsconfig", "lfs.url")
    url = done.text.strip()
    return {"lfs.url": url} if done.code == 0 and url.startswith(("https://", "http://")) else {}


def _silent(_line: str) -> None:
    """Progress of git-lfs is not passed on: it redraws one line."""


def _gap(names: Sequence[str], reason: str) -> tuple[Gap, ...]:
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return (Gap("code.lfs", f"pointers stand in place of the files: {shown} ({reason})"),)
