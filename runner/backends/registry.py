"""The backends by name: the built-in ones, and those of installed packages."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from runner.backends.backend import Backend
from runner.errors import BackendError, UsageError

GROUP = "mlrun.backends"

_BUILT_IN = {
    "local": "runner.backends.local:LocalBackend",
    "ssh": "runner.backends.ssh.backend:SshBackend",
    "slurm": "runner.backends.slurm:SlurmBackend",
}
_REFUSED = {
    "databricks": "mlrun runs on machines it reaches itself; use `mlflow run` for Databricks",
    "kubernetes": "mlrun runs on machines it reaches itself; use `mlflow run` for Kubernetes",
}


def get(name: str, config: Mapping[str, Any] | None = None) -> Backend:
    """Return the backend of a name, configured; BackendError names the known ones.

    A backend that can be configured has a method `configure`, which takes the JSON object of `-c`, and raises
    UsageError where it does not fit.
    """
    backend = _get(name)
    configure = getattr(backend, "configure", None)
    if configure is not None:
        configure(config or {})
    elif config:
        message = f"the backend {name!r} takes no configuration, but {', '.join(config)} is given"
        raise UsageError(message, hint="leave -c out")
    return backend


def _get(name: str) -> Backend:
    if name in _BUILT_IN:
        return _load(name, _BUILT_IN[name])
    if name in _REFUSED:
        message = f"the backend {name!r} is not supported"
        raise BackendError(message, hint=_REFUSED[name])
    others = _installed()
    if name not in others:
        message = f"there is no backend {name!r}"
        raise BackendError(message, hint=f"known are {', '.join([*_BUILT_IN, *sorted(others)])}")
    return _load(name, others[name])


def names() -> tuple[str, ...]:
    """Return the names of all backends that can be asked for."""
    return (*_BUILT_IN, *sorted(set(_installed()) - set(_BUILT_IN)))


def _load(name: str, place: str) -> Backend:
    module, _, attribute = place.partition(":")
    try:
        backend = getattr(importlib.import_module(module), attribute)()
    except Exception as error:  # other people's code
        message = f"the backend {name!r} ({place}) cannot be loaded: {type(error).__name__}: {error}"
        raise BackendError(message, hint="update or remove the package that brings it") from error
    if not isinstance(backend, Backend):
        message = f"{place} is no backend: it lacks some of submit, look, follow, cancel, collect"
        raise BackendError(message, hint=f"the package that brings {name!r} was made for another version of mlrun")
    return backend


def _installed() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=GROUP)}
