"""`runner.log_metric`: a value for the run that goes on, from inside its command. Imports next to nothing."""

from __future__ import annotations

import json
import math
import os
import time
from typing import SupportsFloat, SupportsIndex


def log_metric(name: str, value: SupportsFloat | SupportsIndex, step: int | None = None) -> None:
    """Log a value of a metric into the record of the run that this process belongs to; nothing outside of a run.

    ``value`` is whatever `float` takes: also numpy's and torch's numbers; NaN and infinities are kept. Several
    processes may log at once. TypeError or ValueError for what is no number, and for a name that is empty;
    OSError where the disk takes no more.
    """
    number = float(value)
    if not isinstance(name, str) or not name:
        message = f"the name of a metric is a text, not {name!r}"
        raise TypeError(message)
    path = os.environ.get("MLRUN_METRICS")
    if not path:
        return
    line = {
        "name": name,
        "value": number if math.isfinite(number) else str(number).replace("nan", "NaN").replace("inf", "Infinity"),
        "step": None if step is None else int(step),
        "timestamp": time.time_ns() // 1_000_000,
    }
    _append(path, json.dumps(line).encode("ascii") + b"\n")


def _append(path: str, line: bytes) -> None:
    """Add a line by one write, so that others that log at the same time cannot come between."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size > 0 and os.pread(descriptor, 1, size - 1) != b"\n":  # whoever wrote it died in the middle of a line
            line = b"\n" + line
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
