"""Finds the container engine of a host: docker where its engine answers, else podman, else apptainer."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from typing import Optional

from runner.errors import EnvironmentBuildError
from runner.worker.tools import call
from runner.worker.values import dataclass

DOCKER, PODMAN, APPTAINER = "docker", "podman", "apptainer"
ORDER = (DOCKER, PODMAN, APPTAINER, "singularity")  # what MLflow uses first, then what needs no daemon
SETTING = "MLRUN_CONTAINER_ENGINE"
_SOCKET = "/var/run/docker.sock"
_VERSION = re.compile(r"(docker|podman|apptainer|singularity)\S*\s+version\s+v?([\w.+~-]+)", re.IGNORECASE)
_INSTALL = "install podman (`apt-get install podman`), docker or apptainer; `--env-manager local` does without"


@dataclass(frozen=True)
class Engine:
    """A program that runs containers, and how it wants to be spoken to."""

    kind: str  # docker, podman, apptainer
    program: str
    version: str  # "podman 4.3.1"


def find(asked: str, environ: Mapping[str, str]) -> Engine:
    """Return the engine asked for by name or path, or by this host's setting, else the first of ``ORDER`` that works.

    EnvironmentBuildError says what to install or to start.
    """
    asked = asked or environ.get(SETTING, "")
    if asked:
        return _named(asked, environ)
    silent = None
    for name in ORDER:
        engine = _identified(name, environ)
        if engine is not None and (engine.kind != DOCKER or answers(environ)):
            return engine
        silent = silent or engine
    if silent is not None:
        message = f"docker is here ({silent.program}), but its engine does not answer at {_SOCKET}"
        hint = "start it (`systemctl start docker`), or join the group `docker`; podman needs no engine that runs"
        raise EnvironmentBuildError(message, hint=hint)
    message = "there is no container engine on this host, and the project asks for a container"
    raise EnvironmentBuildError(message, hint=_INSTALL)


def answers(environ: Mapping[str, str]) -> bool:
    """Whether docker has an engine to speak to, as far as that shows without a word to it."""
    if environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT") or os.access(_SOCKET, os.R_OK | os.W_OK):
        return True
    directory = environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME", "/"), ".docker")
    try:
        with open(os.path.join(directory, "config.json"), encoding="utf-8") as stream:
            return bool(json.load(stream).get("currentContext", "default") != "default")
    except (OSError, ValueError, AttributeError):
        return False


def _named(asked: str, environ: Mapping[str, str]) -> Engine:
    engine = _identified(asked, environ) or (_identified("singularity", environ) if asked == APPTAINER else None)
    if engine is not None:
        return engine
    message = f"the container engine {asked!r} is not on this host, or is none that mlrun knows"
    raise EnvironmentBuildError(message, hint=f"name one of {', '.join(ORDER)}, or its path, or leave it out")


def _identified(name: str, environ: Mapping[str, str]) -> Optional[Engine]:
    """Return the engine behind a name: `docker` may be podman by another name."""
    program = shutil.which(name, path=environ.get("PATH"))
    if program is None:
        return None
    done = call([program, "--version"])
    match = _VERSION.search(done.text) if done.code == 0 else None
    if match is None:
        return None
    return of(f"{match.group(1).lower()} {match.group(2)}", program)


def of(version: str, program: str) -> Engine:
    """Return the engine of a version as a record has it: "podman 4.3.1"."""
    kind = version.split(maxsplit=1)[0]
    return Engine(APPTAINER if kind == "singularity" else kind, program, version)
