"""Moments as people write them, and as records have them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from runner.errors import UsageError

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def moment(text: str) -> str:
    """Return a moment as records have it, from `2026-11-23`, an ISO 8601 time, or how long ago: `3d`, `12h`."""
    short = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    try:
        if short:
            then = datetime.now(timezone.utc) - timedelta(seconds=int(short[1]) * SECONDS[short[2]])
        else:
            then = datetime.fromisoformat(text)
        return then.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        message = f"{text!r} is no time"
        hint = "write 2026-11-23, 2026-11-23T14:00, or how long ago: 90m, 12h, 3d, 2w"
        raise UsageError(message, hint=hint) from None
