"""Activation: the variables that the scripts of an environment (etc/conda/activate.d) set for its commands."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from runner.errors import MlrunError
from runner.worker.tools import call

_PATIENCE = 300.0  # seconds
# The scripts are sourced as conda sources them: in one shell, one after the other, whatever each returns.
_SOURCE = b'for script in "$@"; do . "$script" 1>&2; done; exec env -0'
_SHELLS_OWN = (b"_", b"SHLVL", b"PWD", b"OLDPWD")


def activate(environ: "Mapping[bytes, bytes]", prefix: Path) -> "dict[bytes, bytes]":
    """Return ``environ`` as it is once the environment at ``prefix`` is active; MlrunError where a script ends all."""
    active = {**environ, **_stored(prefix)}
    scripts = sorted((prefix / "etc" / "conda" / "activate.d").glob("*.sh"))
    if not scripts:
        return active
    try:
        done = call(["bash", "-c", _SOURCE, "activate", *scripts], env=active, timeout=_PATIENCE)  # type: ignore[arg-type]
    except subprocess.TimeoutExpired:
        message = f"the activation scripts of the environment take more than {_PATIENCE:.0f} s"
        raise MlrunError(message, hint=f"look at those in {scripts[0].parent}") from None
    lines = [line.partition(b"=") for line in done.stdout.split(b"\0") if line]
    if done.code != 0 or not lines:
        last = (done.complaint.splitlines() or [f"code {done.code}"])[-1]
        message = f"an activation script of the environment has ended the shell: {last}"
        raise MlrunError(
            message, hint=f"look at those in {scripts[0].parent}: {', '.join(one.name for one in scripts)}"
        )
    found = {name: value for name, _, value in lines if name not in _SHELLS_OWN}
    return {**{name: active[name] for name in _SHELLS_OWN if name in active}, **found}


def _stored(prefix: Path) -> "dict[bytes, bytes]":
    """Return the variables that packages (env_vars.d) and the environment itself (conda-meta/state) keep in JSON."""
    found: dict[bytes, bytes] = {}
    for path in [*sorted((prefix / "etc" / "conda" / "env_vars.d").glob("*.json")), prefix / "conda-meta" / "state"]:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            table = json.loads(path.read_bytes())
            table = table.get("env_vars", {}) if path.name == "state" else table
            found.update({os.fsencode(name): os.fsencode(str(value)) for name, value in table.items()})
    return found
