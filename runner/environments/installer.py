"""What pip and uv are configured with on this machine, as variables for uv; they may hold credentials."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.errors import FormatError
from runner.worker.environment.locks.toml import loads

# What decides which packages uv takes, and from where. Directories and caches are each host's own business.
_UV = re.compile(
    r"UV_(INDEX|INDEX_.*|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|INSECURE_HOST|PRERELEASE|RESOLUTION|EXCLUDE_NEWER"
    r"|TORCH_BACKEND|NO_BINARY|NO_BINARY_PACKAGE|NO_BUILD|NO_BUILD_PACKAGE|CONSTRAINT|OVERRIDE|BUILD_CONSTRAINT"
    r"|NO_SOURCES|NO_BUILD_ISOLATION|KEYRING_PROVIDER|CUSTOM_COMPILE_COMMAND)$"
)
_DEFAULT = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_EXTRA = ("UV_INDEX", "UV_EXTRA_INDEX_URL")


def configured(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for uv: its own configuration, and pip's where its own says nothing."""
    found = {name: value for name, value in environ.items() if _UV.match(name) and value}
    for source in (_from_uv(environ), _from_pip(environ)):
        if not any(name in found for name in _DEFAULT):
            _take(found, source, "UV_DEFAULT_INDEX")
        if not any(name in found for name in _EXTRA):
            _take(found, source, "UV_INDEX", "UV_INDEX_STRATEGY")
        _take(
            found, source, "UV_FIND_LINKS", "UV_INSECURE_HOST", "UV_KEYRING_PROVIDER", "MLRUN_NO_INDEX", "SSL_CERT_FILE"
        )
    return found


def merged(configured: Mapping[str, str], lines: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a machine together with those that a project's requirement lines ask for."""
    result = dict(configured)
    for name, value in lines.items():
        if name == "UV_INDEX" and "UV_INDEX" in result:
            result[name] = " ".join(dict.fromkeys((*value.split(), *result[name].split())))
        elif name in ("UV_FIND_LINKS", "UV_INSECURE_HOST") and name in result:
            separator = "," if name == "UV_FIND_LINKS" else " "
            result[name] = separator.join(dict.fromkeys((*value.split(separator), *result[name].split(separator))))
        elif name == "UV_DEFAULT_INDEX":
            result.pop("UV_INDEX_URL", None)
            result[name] = value
        else:
            result.setdefault(name, value)
    return result


def _take(found: dict[str, str], source: Mapping[str, str], *names: str) -> None:
    for name in names:
        if name in source:
            found.setdefault(name, source[name])


def _from_uv(environ: Mapping[str, str]) -> dict[str, str]:
    """What uv's own files say: it reads them by itself here, but not on another host."""
    home = _config_home(environ)
    path = environ.get("UV_CONFIG_FILE")
    found: dict[str, str] = {}
    for file in [Path(path)] if path else [home / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]:
        try:
            table = loads(file.read_bytes())
        except (OSError, FormatError):
            continue
        for part in (table, table.get("pip", {})):
            for name, value in _uv_table(part):
                found.setdefault(name, value)
    return found


def _uv_table(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    indexes = [
        one for one in table.get("index", []) if isinstance(one, dict) and "url" in one and not one.get("explicit")
    ]
    default = [str(one["url"]) for one in indexes if one.get("default")] or [str(table.get("index-url", ""))]
    named = [
        f"{one['name']}={one['url']}" if "name" in one else str(one["url"]) for one in indexes if not one.get("default")
    ]
    values = {
        "UV_DEFAULT_INDEX": default[0],
        "UV_INDEX": " ".join([*named, *map(str, table.get("extra-index-url", []))]),
        "UV_FIND_LINKS": ",".join(map(str, table.get("find-links", []))),
        "UV_INSECURE_HOST": " ".join(map(str, table.get("allow-insecure-host", []))),
        "UV_INDEX_STRATEGY": str(table.get("index-strategy", "")),
        "UV_KEYRING_PROVIDER": str(table.get("keyring-provider", "")),
        "MLRUN_NO_INDEX": "1" if table.get("no-index") is True else "",
    }
    return ((name, value) for name, value in values.items() if value)


def _from_pip(environ: Mapping[str, str]) -> dict[str, str]:
    """Pip's configuration in uv's words; pip looks at all indexes alike, so uv is told to."""
    options = _pip_options(environ)
    home = environ.get("HOME", "")
    links = [re.sub(r"^~(?=/|$)", lambda _: home, word) for word in options.get("find-links", "").split()]
    values = {
        "UV_DEFAULT_INDEX": options.get("index-url", "").strip(),
        "UV_INDEX": " ".join(options.get("extra-index-url", "").split()),
        "UV_INDEX_STRATEGY": "unsafe-best-match" if options.get("extra-index-url", "").strip() else "",
        "UV_FIND_LINKS": ",".join(links),
        "UV_INSECURE_HOST": " ".join(options.get("trusted-host", "").split()),
        "MLRUN_NO_INDEX": "1" if options.get("no-index", "").lower() in ("1", "true", "yes", "on") else "",
        "SSL_CERT_FILE": "" if environ.get("SSL_CERT_FILE") else options.get("cert", "").strip(),
    }
    return {name: value for name, value in values.items() if value}


def _pip_options(environ: Mapping[str, str]) -> dict[str, str]:
    """Pip's options, the stronger source last: machine, user, virtual environment, PIP_CONFIG_FILE, PIP_ variables."""
    options: dict[str, str] = {}
    for file in _pip_files(environ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                options.update({name.replace("_", "-"): value for name, value in parser.items(section)})
    variables = {
        name[4:].lower().replace("_", "-"): value for name, value in environ.items() if name.startswith("PIP_")
    }
    options.update(variables)
    return options


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path(environ.get("HOME", "/"))
    machine = [Path(folder, "pip", "pip.conf") for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    user = [
        home / ".pip" / "pip.conf",
        home / "Library" / "Application Support" / "pip" / "pip.conf",
        _config_home(environ) / "pip" / "pip.conf",
    ]
    active = environ.get("VIRTUAL_ENV")
    virtual = [Path(active, "pip.conf")] if active else []
    return [*machine, Path("/etc/pip.conf"), *user, *virtual, *([Path(named)] if named else [])]


def _config_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/"), ".config"))
