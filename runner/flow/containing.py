"""What the near side says of a run's container: its engine, arguments for it, variables copied from the caller."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from runner.environments.plan import Planned
from runner.errors import ProjectError
from runner.flow.ask import Ask
from runner.worker.containers import arguments
from runner.worker.containers.engines import require
from runner.worker.containers.images import refuse_odd
from runner.worker.spec import EnvironmentSpec


def contained(planned: Planned, ask: Ask) -> Planned:
    """Return a planned environment with what was asked for its container; EnvironmentBuildError where none can run.

    Whether this machine has an engine is asked only where the run is to be on it.
    """
    wishes = ask.container
    if planned.spec.kind != "container":
        named = [flag for flag, given in (("-A", wishes.arguments), ("--build-image", wishes.build)) if given]
        unused = tuple(f"{flag} is for containers, and this project runs in none" for flag in named)
        return replace(planned, warnings=(*planned.warnings, *unused))
    arguments.refuse(wishes.arguments)
    refuse_odd(planned.spec.image or "")
    if ask.backend == "local":
        require(str(ask.backend_config.get("container_engine") or ""), os.environ)
    return replace(planned, spec=replace(planned.spec, arguments=wishes.arguments, build=wishes.build))


def copied_variables(environment: EnvironmentSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a container copies from the caller; ProjectError names all that is not set."""
    names = [name for name in environment.variables if "=" not in name] if environment.kind == "container" else []
    missing = [name for name in names if name not in environ]
    if missing:
        message = f"docker_env: environment: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"
        raise ProjectError(message, hint=f"`export {missing[0]}=...` before the run")
    return {name: environ[name] for name in names}
