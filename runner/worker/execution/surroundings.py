"""The environment variables of a command, as bytes: the caller's, its environment's, its own, and its secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from runner.worker.execution import kin
from runner.worker.facts import InstalledEnvironment
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec

Environ = dict[bytes, bytes]

# By exact name, never by prefix: what is recorded must not hold what nobody thought of.
RECORDED = (
    "PYTHONHASHSEED",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "LANG",
    "LC_ALL",
    "TZ",
)


def surround(
    run: RunDirectory,
    spec: RunSpec,
    installed: InstalledEnvironment,
    secrets: Mapping[str, str],
    mlrun: Optional[str],
) -> Environ:
    """Return the variables of a run's command. ``mlrun``: a directory to put last on PATH, for nested runs."""
    environ = {} if installed.container is not None else _callers(installed, mlrun)
    environ.setdefault(b"PYTHONUNBUFFERED", b"1")
    environ.setdefault(b"PYTHONHASHSEED", b"0")
    environ.update({_bytes(name): _bytes(value) for name, value in installed.variables.items()})
    if installed.kind == "conda":
        from runner.worker.environment.conda.activation import activate

        environ.pop(b"VIRTUAL_ENV", None)  # of the caller: conda's environments are none
        environ = activate(environ, Path(installed.prefix))
    for variables in (spec.environ, secrets):
        environ.update({_bytes(name): _bytes(value) for name, value in variables.items()})
    environ[b"MLRUN_RUN_ID"] = _bytes(run.id)
    environ[b"MLRUN_RUN_DIR"] = _bytes(str(run.path))
    environ[b"MLRUN_METRICS"] = _bytes(str(run.metrics))
    return environ


def _callers(installed: InstalledEnvironment, mlrun: Optional[str]) -> Environ:
    """Return what the caller has set, with the environment's programs first on PATH; a container has its own."""
    environ = dict(os.environb)
    environ.pop(kin.WORKER.encode(), None)
    if installed.bin:
        environ.pop(b"PYTHONHOME", None)
    path = environ.get(b"PATH") or os.fsencode(os.defpath)
    environ[b"PATH"] = b":".join(filter(None, [_bytes(installed.bin), path, _bytes(mlrun or "")]))
    return environ


def recorded(environ: Environ, spec: RunSpec) -> dict[str, str]:
    """Return the variables a record may show: the allow-listed ones, and what the project declares."""
    names = sorted({*RECORDED, *spec.environ} - set(spec.secrets))
    return {name: _text(environ[_bytes(name)]) for name in names if _bytes(name) in environ}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
