"""An image that a host has, as every engine's answer about it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from runner.worker.values import dataclass


@dataclass(frozen=True)
class Image:
    """An image that this host has."""

    id: str  # sha256 of its configuration, or of the file it is
    place: str  # what the engine calls exactly this one
    digests: tuple[str, ...] = ()  # NAME@sha256:...
    variables: Mapping[str, str] = field(default_factory=dict)  # those that a record shows
    platform: str = ""
    entrypoint: tuple[str, ...] = ()
