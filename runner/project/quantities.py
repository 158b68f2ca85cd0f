"""Amounts of memory and of time, as people write them."""

from __future__ import annotations

import re

MEMORY = r"^ *[0-9]+(\.[0-9]+)? *([kKmMgGtTpP]?[bB]|[kKmMgGtTpP]([iI][bB])?)? *$"
TIME = (
    r"^(?=.*[1-9]) *(([0-9]+-)?[0-9]+(:[0-9]{1,2}){1,2}"
    r"|([0-9]+(\.[0-9]+)? *(s|sec|m|min|h|d) *)+|[0-9]+(\.[0-9]+)?) *$"
)
_POWERS = {letter: power for power, letter in enumerate("kmgtp", 1)}
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_memory(text: str) -> int | None:
    """Return bytes: `512MB` is 512 * 10**6, `512MiB` and `512M` are 512 * 2**20; None where it is no amount."""
    if not re.search(MEMORY, text):
        return None
    amount, unit = re.fullmatch(r"([0-9.]+)([a-z]*)", text.replace(" ", "").lower()).groups()  # type: ignore[union-attr]
    base = 1000 if len(unit) == 2 else 1024  # noqa: PLR2004 - "gb"; "g" and "gib" are binary
    return int(float(amount) * base ** _POWERS.get(unit[:1], 0))


def parse_time(text: str) -> float | None:
    """Return seconds of `90`, `90s`, `1h 30m`, `1:30:00`, `30:00` (minutes) or `2-12:00:00`; None where it is none."""
    if not re.search(TIME, text):
        return None
    text = text.strip()
    if ":" in text:
        days, _, clock = text.rpartition("-")
        seconds = 0
        for part in clock.split(":"):
            seconds = seconds * 60 + int(part)
        return float(seconds + int(days or 0) * 86400)
    parts = re.findall(r"([0-9.]+) *([a-z]*)", text)
    return sum(float(amount) * _SECONDS[unit or "s"] for amount, unit in parts)
