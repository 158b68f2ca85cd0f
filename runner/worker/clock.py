"""Time as records have it: UTC, milliseconds, `+00:00`."""

from __future__ import annotations

from datetime import datetime, timezone


def now() -> str:
    """Return the present moment, ISO 8601."""
    return stamp(datetime.now(timezone.utc).timestamp())


def stamp(seconds: float) -> str:
    """Return a moment given in seconds since the epoch, ISO 8601."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


def seconds(moment: str) -> float:
    """Return the seconds since the epoch of a moment as ``stamp`` writes it."""
    return datetime.fromisoformat(moment).timestamp()
