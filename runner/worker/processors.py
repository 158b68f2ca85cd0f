"""How many processors there are for this process."""

from __future__ import annotations

import os


def processors() -> int:
    """Return how many processors this process may use; 0 where that is not known."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 0
