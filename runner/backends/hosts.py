"""The user's hosts: `hosts.toml` under the configuration directory, read whole, changed a table at a time."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from runner.backends.host import Host
from runner.errors import FormatError, MlrunError, StoreError, UsageError
from runner.store.home import config
from runner.worker.codec import decode
from runner.worker.files import replace as rewrite

VERSION = 1
_REMARK = re.compile(r"\s*(?:#.*)?\s*")
_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)
_FIRST = """\
# The machines that `mlrun run --on NAME` knows; `mlrun host add` writes here, and so may you.
version = 1
"""


def path() -> Path:
    """Return where the hosts are written down, whether there are any or not."""
    return config() / "hosts.toml"


def read() -> dict[str, Host]:
    """Return the user's hosts by name; FormatError says what is wrong in the file."""
    from runner.worker.environment.locks.toml import loads

    place = path()
    try:
        table = loads(place.read_bytes())
    except FileNotFoundError:
        return {}
    except FormatError as error:
        raise FormatError(f"{place}: {error.message}", hint="correct the file") from None
    except OSError as error:
        message = f"cannot read {place}: {error.strerror}"
        raise StoreError(message, hint="point MLRUN_CONFIG at a directory you can read") from error
    return _hosts(table, place)


def find(name: str) -> Host:
    """Return a host by its name; UsageError names those there are."""
    known = read()
    if name not in known:
        message = f"there is no host {name!r}"
        names = ", ".join(sorted(known))
        hint = f"known are {names}" if names else f"`mlrun host add {name} user@machine` makes it known"
        raise UsageError(message, hint=f"{hint}; --on user@machine works without that")
    return known[name]


def add(host: Host, *, instead: bool = False) -> None:
    """Write a host down; UsageError where the name is taken, unless it is to stand ``instead``."""
    if host.name in read() and not instead:
        message = f"there is a host {host.name!r} already"
        raise UsageError(message, hint=f"`mlrun host rm {host.name}` first, or pass --force")
    text = f"{_without(_text(), host.name).rstrip()}\n\n{_table(host)}"
    if _tables(text) is None:
        message = f"{path()} cannot take another table: `hosts` is written in one piece there"
        raise FormatError(message, hint=f"write each host as a table of its own, as [hosts.{_key(host.name)}]")
    _write(text)


def remove(name: str) -> None:
    """Strike a host out; UsageError where there is none of that name."""
    find(name)
    _write(_without(_text(), name))


def from_fields(name: str, fields: dict[str, Any], where: str) -> Host:
    """Return a host of the fields that a table or a JSON object holds; FormatError names the one that is wrong."""
    if "name" in fields:
        message = f"{where} has an unknown key 'name'"
        raise FormatError(message, hint=f"it is {name!r} already")
    return decode(Host, {"name": name, **fields}, where)


def _hosts(table: dict[str, Any], place: Path) -> dict[str, Host]:
    version = table.get("version")
    if version != VERSION:
        message = f"{place} is of version {version!r}; this mlrun knows {VERSION}"
        raise FormatError(message, hint=f"write `version = {VERSION}` at its top, or upgrade mlrun")
    named = table.get("hosts", {})
    unknown = sorted(set(table) - {"version", "hosts"})
    if unknown or not isinstance(named, dict) or not all(isinstance(one, dict) for one in named.values()):
        message = f"{place}: {unknown[0] if unknown else 'hosts'} is not what is expected there"
        raise FormatError(message, hint='each host is a table: [hosts.lab], and in it address = "user@machine"')
    try:
        return {name: from_fields(name, fields, f"{place}: hosts.{name}") for name, fields in named.items()}
    except FormatError as error:
        known = ", ".join(field.name for field in dataclasses.fields(Host) if field.name != "name")
        raise FormatError(error.message, hint=f"known are {known}") from None
    except UsageError as error:
        raise FormatError(f"{place}: {error.message}", hint=error.hint) from None


def _table(host: Host) -> str:
    lines = [f"[hosts.{_key(host.name)}]"]
    for field in dataclasses.fields(Host):
        value = getattr(host, field.name)
        if field.name == "address" or (field.name != "name" and value != field.default):
            lines.append(f"{field.name} = {json.dumps(value)}")  # a string, a number or a boolean: JSON's is TOML's
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _without(text: str, name: str) -> str:
    """Cut a host's table out of the file's text; all else stays as the user wrote it.

    What looks like a header may stand in a text of several lines: the cut is right that leaves the other tables as
    they were. FormatError where none does.
    """
    others = _tables(text)
    if others is None or others.pop(name, None) is None:
        return text
    keys = "|".join(re.escape(form) for form in (_key(name), json.dumps(name), f"'{name}'"))
    header = re.compile(rf"^[ \t]*\[[ \t]*hosts[ \t]*\.[ \t]*(?:{keys})[ \t]*\][^\n]*\n?", re.MULTILINE)
    for match in header.finditer(text):
        for end in (*(after.start() for after in _HEADER.finditer(text, match.end())), len(text)):
            rest = text[: match.start()] + _comments(text[match.end() : end]) + text[end:]
            if _tables(rest) == others:
                return rest
    message = f"{path()}: the host {name!r} does not stand in a table of its own"
    raise FormatError(message, hint=f"strike it out by hand, or write it as [hosts.{_key(name)}]")


def _comments(body: str) -> str:
    """Return the comments at the end of a table's lines: they may be of the next one."""
    lines = body.splitlines(keepends=True)
    last = next((number for number in range(len(lines), 0, -1) if not _REMARK.fullmatch(lines[number - 1])), 0)
    kept = "".join(lines[last:])
    return kept.lstrip("\r\n") if kept.strip() else ""


def _tables(text: str) -> dict[str, Any] | None:
    """Return the tables of hosts in a text; None where it is no TOML."""
    from runner.worker.environment.locks.toml import loads

    try:
        return dict(loads(text.encode()).get("hosts", {}))
    except FormatError:
        return None


def _text() -> str:
    try:
        return path().read_text(encoding="utf-8")
    except FileNotFoundError:
        return _FIRST
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read {path()}: {error}"
        raise StoreError(message, hint="point MLRUN_CONFIG at a directory you can read") from error


def _write(text: str) -> None:
    place = path()
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        rewrite(place, text.encode())
    except (OSError, StoreError) as error:
        reason = error.message if isinstance(error, MlrunError) else f"cannot write {place}: {error.strerror}"
        raise StoreError(reason, hint="point MLRUN_CONFIG at a directory you can write to") from error
