"""Times and amounts as people say them."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from runner.errors import UsageError
from runner.store.moments import SECONDS, moment

_SIZE_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
__all__ = ["ago", "amount", "duration", "length", "moment", "size"]


def ago(moment: str | None) -> str:
    """Return how long ago an ISO 8601 moment was: `12 s ago`, `3 h ago`, `5 d ago`."""
    if not moment:
        return "-"
    seconds = (datetime.now(timezone.utc) - datetime.fromisoformat(moment)).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{max(0, int(seconds))} s ago"


def duration(seconds: float | None) -> str:
    """Return a duration: `0.4 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds is None:
        return "-"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def amount(size: int | None) -> str:
    """Return a number of bytes with its unit, in powers of 1024."""
    if size is None:
        return "-"
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:  # noqa: PLR2004 - the next unit
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def size(text: str) -> int:
    """Return a number of bytes from `100M`, `1.5G`, `4096`; powers of 1024. UsageError for anything else."""
    number = text.strip().upper().removesuffix("IB").removesuffix("B")
    unit = number[-1:] if number[-1:] in _SIZE_UNITS and number[-1:] else ""
    try:
        value = float(number.removesuffix(unit))
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        message = f"{text!r} is no size"
        raise UsageError(message, hint="write bytes, or a number with K, M, G or T: 100M")
    return int(value * _SIZE_UNITS[unit])


def as_of(text: str | None) -> str | None:
    """Return a moment as `moment` does, in the form that package indexes compare; None for none."""
    return None if text is None else moment(text).replace("+00:00", "Z")


def length(text: str) -> float:
    """Return seconds from `90m`, `12h`, `30d`, `8w`; UsageError for anything else."""
    found = re.fullmatch(r"(\d+)([smhdw])", text.strip())
    if found is None:
        message = f"{text!r} is no length of time"
        raise UsageError(message, hint="write a number with s, m, h, d or w: 12h, 30d")
    return float(found[1]) * SECONDS[found[2]]
