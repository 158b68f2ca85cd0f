"""conda's channels as addresses: what names mean by the user's .condarc, and the logins, which go another way."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from runner.errors import ProjectError
from runner.worker.environment.logins import redacted
from runner.worker.values import dataclass

_ALIAS = "https://conda.anaconda.org"
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_PRIORITIES = ("strict", "flexible", "disabled")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_TOKEN = re.compile(r"^/t/([^/]+)(?=/)")

Login = dict[str, Any]  # as rattler keeps it: {"BasicHTTP": {"username", "password"}}, {"CondaToken"}, {"BearerToken"}


@dataclass(frozen=True)
class Condarc:
    """What of conda's configuration decides which packages are taken."""

    alias: str = _ALIAS
    custom: Mapping[str, str] = field(default_factory=dict)  # first part of a name -> address before the name
    defaults: tuple[str, ...] = _DEFAULTS
    channels: tuple[str, ...] = ("defaults",)  # for a file that names none
    priority: str | None = None


@dataclass(frozen=True)
class Channels:
    """Addresses without credentials, and the logins for their hosts, which are never recorded."""

    urls: tuple[str, ...]
    priority: str | None
    logins: Mapping[str, Login] = field(default_factory=dict, repr=False)
    condarc: Condarc = field(default_factory=Condarc, repr=False)
    unset: tuple[str, ...] = ()  # variables that are named and not set


def channels(
    named: Iterable[str],
    project: Path,
    environ: Mapping[str, str],
    *,
    extra: Iterable[str] = (),
    archives: Iterable[str] = (),
) -> Channels:
    """Return the addresses that channel names stand for; ProjectError where one can stand for none.

    ``extra`` are those that only single packages name, ``archives`` the addresses of packages by themselves.
    """
    condarc, extra, archives = read_condarc(environ), tuple(extra), tuple(archives)
    named = tuple(named) or condarc.channels
    logins: dict[str, Login] = {}

    def known(names: Iterable[str]) -> tuple[str, ...]:
        found = []
        for address in (one for name in names for one in addresses(name, condarc, project, environ)):
            url, login = without_login(address)
            host = urlsplit(url).hostname
            if login and host:
                logins.setdefault(host, login)
            found.append(url)
        return tuple(dict.fromkeys(found))

    urls = known([*named, *extra])
    hosts = {urlsplit(url).hostname or "" for url in (*urls, *known(archives))} - {"", *logins}
    variables = (_variable(match) for name in (*named, *extra, *archives) for match in _VARIABLE.finditer(name))
    unset = tuple(dict.fromkeys(name for name in variables if name not in environ))
    return Channels(urls, condarc.priority, {**_known_logins(hosts, environ), **logins}, condarc, unset)


def addresses(name: str, condarc: Condarc, project: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a channel's name stands for; variables in it are filled in, as conda does."""
    name = _filled_in(name, environ)
    if name == "nodefaults":
        return ()
    if name == "defaults":
        return tuple(one for text in condarc.defaults for one in addresses(text, condarc, project, environ))
    if "://" in name:
        _expect_address(name)
        return (name.rstrip("/"),)
    if name.startswith((".", "/", "~")):
        inside = environ.get("HOME", "~") + name[1:] if name.startswith("~") else name
        return (Path(os.path.normpath(Path.cwd() / project / inside)).as_uri(),)
    first = name.partition("/")[0]
    return (f"{condarc.custom.get(name, condarc.custom.get(first, condarc.alias)).rstrip('/')}/{name}",)


def _filled_in(name: str, environ: Mapping[str, str]) -> str:
    """Return a channel with its variables filled in, where they are set; ProjectError where nothing is left."""
    filled = _VARIABLE.sub(lambda match: environ.get(_variable(match), match.group()), name).strip()
    if not filled:
        message = f"a channel has no name: {name!r}"
        raise ProjectError(message, hint="name one, `conda-forge` for instance, or remove the line below `channels:`")
    return filled


def _variable(match: re.Match[str]) -> str:
    return match.group(1) or match.group(2)


def _expect_address(text: str) -> None:
    try:
        urlsplit(text)
    except ValueError as error:
        message = f"the channel {redacted(text)!r} is no address: {error}"
        raise ProjectError(message, hint="write `https://HOST/CHANNEL`, or the name of a channel") from None


def without_login(address: str) -> tuple[str, Login | None]:
    """Take user, password and token out of an address."""
    parts = urlsplit(address)
    token = _TOKEN.match(parts.path)
    login: Login | None = None
    if parts.username is not None:
        name, word = unquote(parts.username), unquote(parts.password or "")
        login = {"BasicHTTP": {"username": name, "password": word}}
    if token:
        login = {"CondaToken": token.group(1)}
    path = parts.path[token.end() :] if token else parts.path
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path.rstrip("/"), "", "")), login


def read_condarc(environ: Mapping[str, str]) -> Condarc:
    """Return the user's configuration of conda, the stronger first: variables, the user's file, the machine's."""
    tables = [table for table in map(_table, _files(environ)) if table]

    def first(key: str) -> Any:
        return next((table[key] for table in tables if table.get(key)), None)

    alias = environ.get("CONDA_CHANNEL_ALIAS") or first("channel_alias")
    priority = environ.get("CONDA_CHANNEL_PRIORITY") or first("channel_priority")
    custom = first("custom_channels")
    priority = {"true": "flexible", "false": "disabled"}.get(str(priority).lower(), str(priority).lower())
    return Condarc(
        alias=str(alias or _ALIAS),
        custom={str(name): str(url) for name, url in custom.items()} if isinstance(custom, dict) else {},
        defaults=_texts(first("default_channels")) or _DEFAULTS,
        channels=tuple(filter(None, environ.get("CONDA_CHANNELS", "").split(",")))
        or _texts(first("channels"))
        or ("defaults",),
        priority=priority if priority in _PRIORITIES else None,
    )


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME", "/"))
    if environ.get("CONDARC"):
        yield Path(environ["CONDARC"])
    yield home / ".condarc"
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "conda", ".condarc")
    yield home / ".conda" / ".condarc"
    for name in ("MLFLOW_CONDA_HOME", "CONDA_ROOT", "CONDA_PREFIX"):
        if environ.get(name):
            yield Path(environ[name], ".condarc")
    yield Path("/etc/conda/.condarc")


def _table(path: Path) -> Mapping[str, Any] | None:
    import yaml

    try:
        table = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return None
    return table if isinstance(table, dict) else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _known_logins(hosts: Iterable[str], environ: Mapping[str, str]) -> dict[str, Login]:
    """Return what the user's files know of hosts: rattler's credentials (`pixi auth login`), then netrc."""
    home = Path(environ.get("HOME", "/"))
    kept = Path(environ.get("RATTLER_AUTH_FILE") or home / ".rattler" / "credentials.json")
    try:
        stored = json.loads(kept.read_bytes())
    except (OSError, ValueError):
        stored = {}
    stored = stored if isinstance(stored, dict) else {}
    found: dict[str, Login] = {}
    for host in hosts:
        above = [host, *(f"*.{host.split('.', at)[-1]}" for at in range(host.count(".")))]
        login = next((stored[name] for name in above if isinstance(stored.get(name), dict)), None)
        login = login or _from_netrc(host, environ.get("NETRC") or str(home / ".netrc"))
        if login:
            found[host] = login
    return found


def _from_netrc(host: str, file: str) -> Login | None:
    import netrc

    try:
        known = netrc.netrc(file).authenticators(host)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return None
    return {"BasicHTTP": {"username": known[0], "password": known[2] or ""}} if known else None
