"""A backend that gets ready while a run is still planned: a wish, for backends that know how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runner.backends import registry
from runner.backends.backend import Backend


def warmed(name: str, *, foreground: bool, config: Mapping[str, Any] | None = None) -> Backend:
    """Return the backend of a name, getting ready for a run that is submitted soon; BackendError where unknown."""
    backend = registry.get(name, config)
    warm = getattr(backend, "warm", None)
    if warm is not None:
        warm(foreground=foreground)
    return backend


@contextmanager
def dismissed_on_error(backend: Backend) -> Iterator[None]:
    """Tell a backend that got ready when no run comes after all."""
    try:
        yield
    except BaseException:
        dismiss(backend)
        raise


def dismiss(backend: Backend) -> None:
    """Tell a backend that no run comes."""
    tell = getattr(backend, "dismiss", None)
    if tell is not None:
        tell()


def expect(backend: Backend) -> None:
    """Wait until a backend can take a run; BackendError where it cannot: then none is made."""
    ready = getattr(backend, "ready", None)
    if ready is not None:
        ready()
