"""Finds the container engine of a host: docker where its engine answers, else podman, else apptainer."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Optional

from runner.errors import EnvironmentBuildError, StoreError
from runner.worker.files import replace as rewrite
from runner.worker.hashing import sha256_of
from runner.worker.stat_cache import stat_key
from runner.worker.tools import call
from runner.worker.values import dataclass

DOCKER, PODMAN, APPTAINER = "docker", "podman", "apptainer"
ORDER = (DOCKER, PODMAN, APPTAINER, "singularity")  # what MLflow uses first, then what needs no daemon
SETTING = "MLRUN_CONTAINER_ENGINE"
_SOCKET = "/var/run/docker.sock"
_OWN = "default"  # what docker calls the context of this machine's own engine
_VERSION = re.compile(r"(docker|podman|apptainer|singularity)\S*\s+version\s+v?([\w.+~-]+)", re.IGNORECASE)
START_IT = "start it (`systemctl start docker`), or join the group `docker`; podman needs no engine that runs"
_INSTALL = "install podman (`apt-get install podman`), docker or apptainer; `--env-manager local` does without"


@dataclass(frozen=True)
class Engine:
    """A program that runs containers, and how it wants to be spoken to."""

    kind: str  # docker, podman, apptainer
    program: str
    version: str  # "podman 4.3.1"


def find(asked: str, environ: Mapping[str, str], cache: Optional[Path] = None) -> Engine:
    """Return the engine asked for by name or path, or by this host's setting, else the first of ``ORDER`` that works.

    What a program said of itself is kept in ``cache``. EnvironmentBuildError says what to install or to start.
    """
    for program in _candidates(asked, environ):
        engine = _known(program, cache)
        if engine is not None and (asked or environ.get(SETTING) or engine.kind != DOCKER or answers(environ)):
            return engine
    raise _none(asked or environ.get(SETTING, ""), environ)


def require(asked: str, environ: Mapping[str, str]) -> None:
    """Raise what ``find`` would where no engine is here, without a call to any."""
    if next(_candidates(asked, environ), None) is None:
        raise _none(asked or environ.get(SETTING, ""), environ)


def answers(environ: Mapping[str, str]) -> bool:
    """Whether docker has an engine to speak to, as far as that shows without a word to it."""
    if environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT") or os.access(_SOCKET, os.R_OK | os.W_OK):
        return True
    return _context(environ) != _OWN


def socket_of(environ: Mapping[str, str]) -> Optional[str]:
    """Return the socket of this machine where docker's engine listens; None where it may listen elsewhere."""
    if environ.get("DOCKER_CONTEXT", _OWN) not in ("", _OWN):
        return None
    host = environ.get("DOCKER_HOST")
    if host:
        return host[len("unix://") :] if host.startswith("unix://") else None
    return _SOCKET if _context(environ) == _OWN else None


def _context(environ: Mapping[str, str]) -> str:
    """Return the context that docker's configuration names; `default` is the engine of this machine."""
    directory = environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME", "/"), ".docker")
    try:
        with open(os.path.join(directory, "config.json"), encoding="utf-8") as stream:
            return str(json.load(stream).get("currentContext") or _OWN)
    except (OSError, ValueError, AttributeError):
        return _OWN


def _candidates(asked: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield programs that may be an engine that works."""
    asked = asked or environ.get(SETTING, "")
    names = {"": ORDER, APPTAINER: (APPTAINER, "singularity")}.get(asked, (asked,))
    for name in names:
        program = shutil.which(name, path=environ.get("PATH"))
        if program is not None and (asked or name != DOCKER or answers(environ) or _is_podman(program)):
            yield program


def _is_podman(program: str) -> bool:
    """Whether `docker` may be podman by another name: a script, or a link."""
    return PODMAN in os.path.realpath(program) or is_script(program)


def is_script(program: str) -> bool:
    """Whether a program is a script, which may call any other; so may what cannot be read."""
    try:
        with open(program, "rb") as stream:
            return stream.read(2) == b"#!"
    except OSError:
        return True


def _none(asked: str, environ: Mapping[str, str]) -> EnvironmentBuildError:
    if asked:
        message = f"the container engine {asked!r} is not on this host, or is none that mlrun knows"
        return EnvironmentBuildError(message, hint=f"name one of {', '.join(ORDER)}, or its path, or leave it out")
    docker = shutil.which(DOCKER, path=environ.get("PATH"))
    if docker is not None:
        message = f"docker is here ({docker}), but its engine does not answer at {_SOCKET}"
        return EnvironmentBuildError(message, hint=START_IT)
    message = "there is no container engine on this host, and the project asks for a container"
    return EnvironmentBuildError(message, hint=_INSTALL)


def _known(program: str, cache: Optional[Path]) -> Optional[Engine]:
    """As ``_identified``, which is asked again when the program's file has changed."""
    if cache is None:
        return _identified(program)
    state = f"{os.path.realpath(program)} {stat_key(os.stat(program))}"
    kept = cache / "engines" / sha256_of(os.fsencode(state))
    with contextlib.suppress(OSError, UnicodeDecodeError, IndexError):
        return of(kept.read_text(encoding="utf-8"), program)
    engine = _identified(program)
    if engine is not None and engine.version.isprintable():
        with contextlib.suppress(OSError, StoreError):  # a cache that cannot be written costs time only
            kept.parent.mkdir(parents=True, exist_ok=True)
            rewrite(kept, engine.version.encode())
    return engine


def _identified(program: str) -> Optional[Engine]:
    """Return the engine that a program is, as it says itself."""
    done = call([program, "--version"])
    match = _VERSION.search(done.text) if done.code == 0 else None
    return None if match is None else of(f"{match.group(1).lower()} {match.group(2)}", program)


def of(version: str, program: str) -> Engine:
    """Return the engine of a version as a record has it: "podman 4.3.1"."""
    kind = version.split(maxsplit=1)[0]
    return Engine(APPTAINER if kind == "singularity" else kind, program, version)
