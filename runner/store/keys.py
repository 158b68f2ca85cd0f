"""How the index spells names and values: what it is given, and what it is asked for."""

from __future__ import annotations

import hashlib
import math

GROUPS = {"params": "param", "tags": "tag", "metrics": "metric"}
_LONG = 200  # bytes: of a longer value the index holds the digest, which is enough to find it


def key(text: str) -> bytes:
    """Return text as bytes: file names and arguments may hold what sqlite takes for no text."""
    return text.encode("utf-8", "surrogatepass")


def value_key(text: str) -> bytes:
    """Return a label's value as it is looked for: of a long one the digest."""
    value = key(text)
    return value if len(value) <= _LONG else b"sha256:" + hashlib.sha256(value).hexdigest().encode()


def number(value: float | str) -> float | None:
    """Return the number that a label's value is; None where it is none."""
    try:
        found = None if isinstance(value, str) and "_" in value else float(value)
    except ValueError:
        return None
    return None if found is None or math.isnan(found) else found
