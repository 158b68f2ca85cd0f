"""Requirement lines: the files they pull in, the projects they point at, and the credentials that must leave them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.environments.document import read_text
from runner.environments.grammar import problem
from runner.errors import ProjectError
from runner.worker.hashing import sha256_of_file
from runner.worker.spec import SpecFile

_USERINFO = re.compile(r"(?P<scheme>(?:git\+)?https?)://(?P<userinfo>[^/\s@'\"]+)@(?P<rest>[^\s'\"#]+)")
_INDEX = {"-i": "UV_DEFAULT_INDEX", "--index-url": "UV_DEFAULT_INDEX", "--extra-index-url": "UV_INDEX"}
_LINKS = ("-f", "--find-links")
_FILES = ("-r", "--requirement", "-c", "--constraint")
_EDITABLE = ("-e", "--editable")
_DECIDING = ("pyproject.toml", "setup.py", "setup.cfg")  # what a project's own dependencies are written in
_DIGEST = re.compile(r"\s--hash(?:\s*=\s*|\s+)(\w+):|://[^\s#]+#(?:\S*&)?(md5|sha\d+)=[0-9a-fA-F]")
_ARCHIVE = re.compile(r"\.(whl|zip|tar\.gz|tar\.bz2|tgz)$")


@dataclass
class Gathered:
    """What requirement lines mean: the lines without credentials, the files behind them, variables for uv."""

    lines: list[str] = field(default_factory=list)
    files: dict[str, SpecFile] = field(default_factory=dict)
    installer: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """A requirement line and where it stands, for messages."""

    text: str
    place: str  # "requirements.txt, line 3"


@dataclass(frozen=True)
class _Place:
    """What the paths in a line are relative to."""

    project: Path
    base: Path  # where the installer is called: local projects and archives, in whatever file they are named
    folder: Path  # of the file that the line stands in: other lists of lines

    def name(self, path: Path) -> str:
        """Return a path as messages and specs have it, relative to the project."""
        return _relative(self.project, path)

    def hint(self, folder: Path) -> str:
        """Say what a path that leads nowhere is relative to."""
        return f"it is relative to {'the project' if folder == self.project else self.name(folder) + '/'}"


def gather(project: Path, lines: Iterable[Line], environ: Mapping[str, str], *, base: Path | None = None) -> Gathered:
    """Follow requirement lines into their files; ProjectError names the line that points at nothing.

    ``base`` is the directory that the lines' paths are relative to, where it is not the project.
    """
    gathered = Gathered()
    base = base or project
    for line in lines:
        bare = _follow(gathered, _Place(project, base, base), line, environ)
        if bare:
            gathered.lines.append(bare)
    return gathered


def spec_file(project: Path, path: Path) -> SpecFile:
    """Return a file by its digest, its path relative to the project."""
    try:
        return SpecFile(_relative(project, path), sha256_of_file(path))
    except OSError as error:
        message = f"{_relative(project, path)} cannot be read: {error.strerror}"
        raise ProjectError(message) from None


def _follow(gathered: Gathered, place: _Place, line: Line, environ: Mapping[str, str]) -> str:
    """Take in one line and return it without comment and credentials."""
    bare = _without_credentials(gathered, _without_comment(line.text), environ)
    _expect_sha256(bare, line)
    option, value = _option(bare)
    value = _expanded(value, {**environ, "PROJECT_ROOT": str(place.base.absolute())})  # uv's own name for it
    is_known = "${" not in value  # else uv says that there is no such variable
    if option in _FILES and "://" not in value and is_known:  # what lies elsewhere is uv's to fetch
        _pull_in(gathered, place, value, line, environ)
    elif option == "--pre":
        gathered.installer.setdefault("UV_PRERELEASE", "allow")
    elif option == "--trusted-host":
        _append(gathered.installer, "UV_INSECURE_HOST", value)
    elif option == "--extra-index-url":
        # pip looks at all indexes alike; uv would stop at the first that knows the name.
        gathered.installer.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    elif option in _EDITABLE or not option:
        if is_known:
            _point_at(gathered, place, value, line)
        _expect_requirement(bare, line)
    return bare


def _expect_sha256(bare: str, line: Line) -> None:
    """Refuse a line that pins its archive by other digests alone: neither uv nor a lock would hold to them."""
    names = [(first or second).lower() for first, second in _DIGEST.findall(bare)]
    if names and "sha256" not in names:
        message = f"{line.place}: {bare!r:.80} pins its archive by {names[0]}, and locks hold to sha256"
        raise ProjectError(message, hint="give its sha256: `pip hash FILE` prints it, the index has it in its links")


def _expect_requirement(bare: str, line: Line) -> None:
    what = problem(bare)
    if what is not None:
        message = f"{line.place}: {bare!r:.80} is no requirement: {what[0].lower()}{what[1:]}"
        raise ProjectError(message, hint="write `name`, `name==1.2`, `name>=1,<2`, or a path with a `/` in it")


def _pull_in(gathered: Gathered, place: _Place, value: str, line: Line, environ: Mapping[str, str]) -> None:
    path = place.folder / value
    name = place.name(path)
    if name in gathered.files:
        return
    if not path.is_file():
        message = f"{line.place}: {line.text.strip()}: there is no file {name}"
        raise ProjectError(message, hint=place.hint(place.folder))
    gathered.files[name] = spec_file(place.project, path)
    for below in lines_of(path, name):
        _follow(gathered, replace(place, folder=path.parent), below, environ)


def lines_of(path: Path, name: str) -> list[Line]:
    """Return the lines of a requirements file, continued ones joined."""
    lines, begun, start = [], "", 1
    for number, text in enumerate(read_text(path, name).splitlines(), start=1):
        start = start if begun else number
        if text.endswith("\\"):
            begun += text[:-1]
            continue
        lines.append(Line(begun + text, f"{name}, line {start}"))
        begun = ""
    return lines


def _point_at(gathered: Gathered, place: _Place, text: str, line: Line) -> None:
    """Take in the files that decide what a local project or archive is."""
    target = _local_path(text)
    if target is None:
        return
    path = place.base / target
    if not path.exists():
        message = f"{line.place}: {line.text.strip()}: there is nothing at {place.name(path)}"
        raise ProjectError(message, hint=place.hint(place.base))
    found = [path] if path.is_file() else [path / name for name in _DECIDING if (path / name).is_file()]
    if not found:
        message = f"{line.place}: {line.text.strip()}: {place.name(path)} holds no pyproject.toml and no setup.py"
        raise ProjectError(message, hint="name a directory that can be installed")
    for one in found:
        gathered.files.setdefault(place.name(one), spec_file(place.project, one))


def _local_path(text: str) -> str | None:
    """Return the path a requirement points at on this disk, None for what an index or a server holds."""
    marked = re.split(r"\s+;|\s+--", text, maxsplit=1)[0].strip()
    reference = re.match(r"[\w.-]+(?:\s*\[[^\]]*\])?\s*@\s*(?P<url>\S+)", marked)
    target = reference.group("url") if reference else marked
    if target.startswith("file:"):
        path = unquote(urlsplit(target).path if target.startswith("file://") else target[5:])
        return path.split("#", maxsplit=1)[0]
    if "://" in target:
        return None
    if reference:
        return target if target.startswith((".", "/")) else None
    target = re.sub(r"\[[^\]]*\]$", "", target).split("#", maxsplit=1)[0]
    is_path = "/" in target or target in (".", "..") or _ARCHIVE.search(target) is not None
    return target if is_path else None


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    """Return a text with the variables in it, as pip and uv write them; those that are not set stay."""
    return re.sub(r"\$\{(\w+)\}", lambda name: environ.get(name.group(1), name.group()), text)


def _without_comment(text: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", text).strip()


def _option(line: str) -> tuple[str, str]:
    """Split a line into its option, "" for a requirement, and the value."""
    match = re.match(r"(--?[a-z][a-z-]*)(?:\s*=\s*|\s+|$)(.*)", line)
    short = re.match(r"(-[rcefi])(\S.*)", line)
    if short and not line.startswith("--"):
        return short.group(1), _unquoted(short.group(2).lstrip("= "))
    if match:
        return match.group(1), _unquoted(match.group(2))
    return "", line


def _unquoted(value: str) -> str:
    try:
        return " ".join(shlex.split(value))
    except ValueError:
        return value


def _without_credentials(gathered: Gathered, line: str, environ: Mapping[str, str]) -> str:
    """Move user and password of the URLs in a line to the installer's variables, and return the line without them."""

    def take(match: re.Match[str]) -> str:
        scheme, rest = match.group("scheme"), match.group("rest")
        userinfo = _expanded(match.group("userinfo"), environ)
        option, _ = _option(line)
        if option in _INDEX:
            _append(gathered.installer, _INDEX[option], f"{scheme}://{userinfo}@{rest}")
        elif option in _LINKS:
            _append(gathered.installer, "UV_FIND_LINKS", f"{scheme}://{userinfo}@{rest}", ",")
        elif scheme.startswith("git+"):
            _lend_to_git(gathered.installer, userinfo, urlsplit(f"https://{rest}").netloc)
        else:
            _lend_to_http(gathered.installer, userinfo, urlsplit(f"https://{rest}").hostname or "")
        return f"{scheme}://{rest}"

    return _USERINFO.sub(take, line)


def _lend_to_git(installer: dict[str, str], userinfo: str, host: str) -> None:
    """Let git use a user and password for a host, by its configuration's variables."""
    count = int(installer.get("GIT_CONFIG_COUNT", "0"))
    installer[f"GIT_CONFIG_KEY_{count}"] = f"url.https://{userinfo}@{host}/.insteadOf"
    installer[f"GIT_CONFIG_VALUE_{count}"] = f"https://{host}/"
    installer["GIT_CONFIG_COUNT"] = str(count + 1)


def _lend_to_http(installer: dict[str, str], userinfo: str, host: str) -> None:
    """Let uv use a user and password for a host, by a netrc file that the worker makes and removes."""
    user, _, password = userinfo.partition(":")
    entry = f"machine {host} login {unquote(user)} password {unquote(password)}"
    _append(installer, "MLRUN_NETRC", entry, "\n")


def _append(installer: dict[str, str], name: str, value: str, separator: str = " ") -> None:
    known = installer.get(name, "").split(separator) if installer.get(name) else []
    if value not in known:
        installer[name] = separator.join([*known, value])


def _relative(project: Path, path: Path) -> str:
    return Path(os.path.relpath(path, project)).as_posix()
