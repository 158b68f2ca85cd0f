"""Whether an environment is as it was built: a quick look before each use, a long one on doubt or on request."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Optional

from runner.errors import StoreError
from runner.worker.environment.cache import rest
from runner.worker.environment.cache.look import Look, look_of, state_of
from runner.worker.environment.cache.pulse import pulse_of
from runner.worker.environment.cache.slot import Marker, Slot, others_of, watched_of
from runner.worker.facts import InstalledEnvironment
from runner.worker.files import replace as rewrite
from runner.worker.hashing import sha256_of
from runner.worker.processes import boot_id
from runner.worker.stat_cache import stat_key


def python_state(environment: InstalledEnvironment) -> "tuple[int, ...]":
    """Return the state of the interpreter's file; OSError where it is gone."""
    if environment.interpreter is None:
        return ()
    return stat_key(os.stat(os.path.join(environment.bin, "python")))


def fault(slot: Slot, marker: Marker) -> Optional[str]:
    """Return why an environment cannot be used as it is; None where it can. No file of it is read unless in doubt."""
    reason = broken(slot, marker)
    if reason is not None:
        return reason
    prefix, look, pulse = slot.prefix(marker), look_of(marker.environment.kind), ""
    with contextlib.suppress(OSError):  # a file that is gone is named by the long look
        pulse = pulse_of(prefix, watched_of(prefix).read_bytes())
        proven = marker.boot in ("", boot_id())
        if proven and pulse == marker.pulse and look.top_level(prefix) == marker.top_level:
            return None
    found = difference(slot, marker)
    if found is None:  # touched, copied, linked: nothing that matters has changed
        boot = marker.boot if marker.boot == boot_id() else ""
        with contextlib.suppress(OSError, StoreError):
            slot.write(replace(marker, pulse=pulse or _watch_anew(prefix, look), boot=boot))
    return found


def _watch_anew(prefix: Path, look: Look) -> str:
    """Make the list of what a quick look goes over again, which was lost; return the state of what it names."""
    state = state_of(look, prefix)
    rewrite(watched_of(prefix), state.watched)
    return state.pulse


def broken(slot: Slot, marker: Marker) -> Optional[str]:
    """Return why an environment cannot work at all: it was moved, or its interpreter is not what it was."""
    environment = marker.environment
    if environment.prefix != str(slot.prefix(marker)):
        return f"it was moved here from {environment.prefix}, and an environment knows its path"
    where = f" ({environment.interpreter.path})" if environment.interpreter else ""
    try:
        if python_state(environment) != marker.python:
            return f"its interpreter has changed{where}"
    except OSError:
        return f"its interpreter is gone{where}"
    return None


def difference(slot: Slot, marker: Marker) -> Optional[str]:
    """Return what differs from what was built, every listed file read."""
    prefix, look = slot.prefix(marker), look_of(marker.environment.kind)
    if marker.python and not ((prefix / "bin" / "python").exists() and _has_configuration(prefix, marker)):
        return "it has lost its interpreter"
    now, top = {one.name: one.digest for one in look.contents(prefix)}, look.top_level(prefix)
    for name in sorted({*now, *marker.digests}):
        if now.get(name) != marker.digests.get(name):
            return _named(look, prefix, name, (name in now, name in marker.digests))
    strange = sorted(set(top).symmetric_difference(marker.top_level))
    if strange:
        return f"{strange[0]} was {'added to' if strange[0] in top else 'removed from'} site-packages"
    others = look.others(prefix)
    if marker.others in ("", sha256_of(others)):
        return None
    before = b""
    with contextlib.suppress(OSError):
        before = others_of(prefix).read_bytes()
    whole = sha256_of(before) == marker.others
    return (rest.changed(before, others) if whole else None) or f"{others_of(prefix).name} was edited"


def _has_configuration(prefix: Path, marker: Marker) -> bool:
    return marker.environment.kind != "virtualenv" or (prefix / "pyvenv.cfg").exists()


def _named(look: Look, prefix: Path, name: str, there: "tuple[bool, bool]") -> str:
    is_there, was_there = there
    if is_there and was_there:
        file = next((one.altered for one in look.contents(prefix, {name})), None)
        return f"{name} was edited{f' ({file})' if file else ''}"
    return f"{name} was {'installed into it' if is_there else 'removed from it'}"
