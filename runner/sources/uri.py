"""What a project's URI means: a local directory, a git repository or a zip archive, and the directory inside it."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.errors import SourceError
from runner.worker.values import dataclass

GIT_SCHEMES = ("https", "http", "ssh", "git", "file", "git+ssh", "ssh+git")
_FORMS = "a directory, a git URL (https, ssh, file, user@host:path) or a .zip, each with an optional #subdirectory"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCP_LIKE = re.compile(r"(?:[^/:@\s]+@)?[^/:@\s]+:(?!:)")
_REMOTE_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.-]*::")
_USERINFO = re.compile(r"(?<=://)[^/]*@")


@dataclass(frozen=True)
class Location:
    """Where a project is. ``address`` may hold credentials; ``display`` never does."""

    kind: str  # directory, git, zip
    address: str  # what git or http gets
    path: Path | None  # where it is on this machine
    subdirectory: str  # POSIX, "" for the top

    @property
    def display(self) -> str:
        """The address for people and records: without userinfo."""
        return strip_userinfo(self.address)


def parse(uri: str, caller: Path) -> Location:
    """Return what a URI means to somebody who stands in ``caller``; SourceError where it can mean nothing."""
    if "\0" in uri:
        message = "the project's URI holds a NUL character"
        raise SourceError(message, hint=f"give {_FORMS}")
    base, _, subdirectory = uri.partition("#")
    if subdirectory and not _exists(base, caller) and _exists(uri, caller):
        base, subdirectory = uri, ""  # a directory with a "#" in its name
    inside = _inside(subdirectory)
    return _local(base, inside, caller) or _remote(base, inside)


def strip_userinfo(url: str) -> str:
    """Return a URL without user and password. An scp-like `git@host:path` keeps its login: it can hold no secret."""
    return _USERINFO.sub("", url)


def _exists(base: str, caller: Path) -> bool:
    return bool(base) and _local_path(base, caller) is not None


def _local_path(base: str, caller: Path) -> Path | None:
    scheme = _SCHEME.match(base)
    if scheme is None:
        candidates = [caller / base] + ([Path(base).expanduser()] if base.startswith("~") else [])
    elif scheme[1].lower() == "file":
        host, slash, path = base[scheme.end() :].partition("/")
        if host.lower() not in ("", "localhost"):
            return None
        # MLflow takes the path as it is, RFC 8089 has it percent-encoded: what exists decides.
        candidates = [Path(slash + path), Path(slash + unquote(path, errors="surrogateescape"))]
    else:
        return None
    try:
        return next((path for path in candidates if os.path.lexists(path)), None)
    except OSError:
        return None


def _local(base: str, subdirectory: str, caller: Path) -> Location | None:
    path = _local_path(base, caller) if base else None
    if path is None:
        return None
    path = Path(os.path.abspath(path))
    if path.is_dir():
        kind = "git" if is_bare(path) else "directory"
        return Location(kind, str(path), path, subdirectory)
    if path.suffix.lower() == ".zip" and path.is_file():
        return Location("zip", str(path), path, subdirectory)
    what = "is a file" if path.exists() else "is a symbolic link to nothing"
    message = f"{str(path)!r} {what}, not a project"
    raise SourceError(message, hint=f"give {_FORMS}")


def _remote(base: str, subdirectory: str) -> Location:
    if base.startswith("-") or _REMOTE_HELPER.match(base):
        message = f"{strip_userinfo(base)!r} is not a project's URI"
        raise SourceError(message, hint=f"give {_FORMS}")
    scheme = _SCHEME.match(base)
    if scheme is None:
        if _SCP_LIKE.match(base):
            return Location("git", base, None, subdirectory)
        message = f"there is no directory {base!r}" if base else "the project's URI is empty"
        raise SourceError(message, hint=f"give {_FORMS}")
    name = scheme[1].lower()
    if name not in GIT_SCHEMES:
        message = f"a project cannot be fetched by {name}://: {strip_userinfo(base)!r}"
        raise SourceError(message, hint=f"give {_FORMS}")
    if name == "file":
        message = f"there is nothing at {base!r}"
        raise SourceError(message, hint="a file:// URI holds an absolute path: file:///home/ada/project")
    return _web(base, name, subdirectory)


def _web(base: str, scheme: str, subdirectory: str) -> Location:
    try:
        parts = urlsplit(base)
        named, _ = parts.hostname, parts.port
    except ValueError:
        named = None
    if not named or named.startswith("-"):
        message = f"{strip_userinfo(base)!r} names no host"
        raise SourceError(message, hint="an address is like https://example.org/team/project.git")
    is_zip = scheme in ("http", "https") and parts.path.lower().endswith(".zip")
    return Location("zip" if is_zip else "git", base, None, subdirectory)


def is_bare(path: Path) -> bool:
    """Whether a directory is a git repository without a work tree, by what lies in it."""
    try:
        head = (path / "HEAD").is_file() or (path / "HEAD").is_symlink()
        return head and (path / "objects").is_dir() and (path / "refs").is_dir() and path.name != ".git"
    except OSError:
        return False


def _inside(subdirectory: str) -> str:
    if not subdirectory:
        return ""
    normal = posixpath.normpath(subdirectory)
    if normal == ".." or normal.startswith(("/", "../")):
        message = f"the subdirectory {subdirectory!r} leaves the project"
        raise SourceError(message, hint="what follows the # is a directory inside the project: URI#experiments/first")
    return "" if normal == "." else normal
