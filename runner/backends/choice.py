"""From the words of a command line to a backend: `--on HOST`, `-b BACKEND`, `-c JSON`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from runner.backends import hosts
from runner.backends.host import HERE, Host, is_address, with_port
from runner.errors import FormatError, UsageError
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Choice:
    """A backend by name, and what it is configured with: JSON values."""

    backend: str = HERE
    config: Mapping[str, Any] = field(default_factory=dict)


def choose(on: str | None, backend: str | None, config: Mapping[str, Any] | None = None) -> Choice:
    """Return the backend that is meant; UsageError where the words exclude each other, or name no known host."""
    if on is None:
        return Choice(backend or HERE, config or {})
    if backend is not None:
        message = f"--on {on} and -b {backend} both say where to run"
        raise UsageError(message, hint="give one of them")
    if on == HERE:
        return Choice(HERE, config or {})
    host = named(on)
    if not host.is_here:
        return Choice("ssh", {**(config or {}), "host": on})
    return Choice(host.launcher if host.launcher != "direct" else HERE, {**(config or {}), "host": on})


def read_config(text: str, name: str) -> dict[str, Any]:
    """Return the JSON object that a text is, or the .json file that it names; ``name`` is what messages call it."""
    try:
        read = Path(text).read_text(encoding="utf-8") if text.endswith(".json") else text
        config = json.loads(read)
    except (OSError, ValueError, RecursionError) as error:
        message = f"{name} {text}: {error}"
        raise UsageError(message, hint="give a JSON object, or the path of a .json file") from None
    if not isinstance(config, dict):
        message = f"{name} {text}: a JSON object is expected"
        raise UsageError(message, hint="""write it as '{"name": "value"}'""")
    return config


def named(text: str) -> Host:
    """Return the host that a word means: one of the user's, or user@machine as it is; UsageError for any other."""
    if is_address(text) and text not in hosts.read():
        address, port = with_port(text) or (text, None)
        return Host(name=_name_of(address.rpartition("@")[2]), address=address, port=port)
    return hosts.find(text)


def host_of(config: Mapping[str, Any], backend: str) -> Host | None:
    """Return the host that a backend is configured with: `host` names one, other keys say what is different on it.

    Without `host` the keys describe a host by themselves, where there are any. UsageError names what does not fit.
    """
    fields = dict(config)
    name = fields.pop("host", None)
    if name is None and not fields:
        return None
    if name is not None and not isinstance(name, str):
        message = f"the `host` of the backend {backend} is a name, not {name!r}"
        raise UsageError(message, hint='write it as \'{"host": "lab"}\'')
    base = {} if name is None else _fields_of(named(name))
    own = str(base.pop("name", None) or _name_of(str(fields.get("address", HERE)).rpartition("@")[2]))
    try:
        return hosts.from_fields(own, {**base, **fields}, f"the configuration of the backend {backend}")
    except FormatError as error:
        raise UsageError(error.message, hint="the keys are those of hosts.toml, see docs/hosts.md") from None


def host_here(config: Mapping[str, Any], backend: str) -> Host | None:
    """As ``host_of``, for a backend that works on this machine; UsageError where the host is another."""
    host = host_of(config, backend)
    if host is not None and not host.is_here:
        message = f"the backend {backend} works on this machine, and the host is {host.address}"
        raise UsageError(message, hint="name the host with --on, without -b")
    return host


def _fields_of(host: Host) -> dict[str, Any]:
    from runner.worker.codec import encode

    fields = encode(host)
    assert isinstance(fields, dict)
    return dict(fields)


def _name_of(machine: str) -> str:
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in machine).strip("-._")
    return f"ipv6-{kept}" if ":" in machine and "//" not in machine else kept or "host"
