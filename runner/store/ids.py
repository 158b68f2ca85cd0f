"""Run ids: UUIDv7 (RFC 9562), so that ids sort by the time the runs were made."""

from __future__ import annotations

import re
import secrets
import threading
import time

_SHAPE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_COUNT = 1 << 12  # ids in one millisecond, before the next one is borrowed

_lock = threading.Lock()
_last = 0  # milliseconds * _COUNT + count, of the newest id of this process


def new_id(after: str = "") -> str:
    """Return an id greater than ``after`` and all that this process has made, also where the clock was set back."""
    global _last  # noqa: PLW0603 - being greater than the last one is all that is asked
    with _lock:
        _last = max(time.time_ns() // 1_000_000 * _COUNT, _last + 1, _moment(after) + 1)
        milliseconds, count = divmod(_last, _COUNT)
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | count << 64 | 0b10 << 62 | secrets.randbits(62)
    return with_dashes(f"{value:032x}")


def _moment(identity: str) -> int:
    """Return milliseconds * _COUNT + count of an id; 0 for none."""
    digits = identity.replace("-", "")
    return int(digits[:12], 16) * _COUNT + int(digits[13:16], 16) if digits else 0


def short(identity: str) -> str:
    """Return what people call a run: the last 8 hex digits of its id, which are random."""
    return identity[-8:]


def with_dashes(text: str) -> str:
    """Return 32 hex digits, as MLflow's clients write an id, in the shape of a run's id; any other text as it is."""
    if len(text) != 32:  # noqa: PLR2004
        return text
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def is_id(text: str) -> bool:
    """Whether a text has the shape of a run's id."""
    return _SHAPE.fullmatch(text) is not None
