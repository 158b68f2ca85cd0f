"""What the worker says while it prepares: one JSON object a line, appended whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

from runner.worker.clock import now

Say = Callable[[str], None]


def teller(path: Path) -> Say:
    """Return what appends a line of text to a progress file; a full disk loses the line, not the run."""

    def say(text: str) -> None:
        line = json.dumps({"at": now(), "text": text}).encode("ascii") + b"\n"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            os.write(descriptor, line)
        except OSError:
            pass
        finally:
            os.close(descriptor)

    return say


def texts(lines: bytes) -> Iterator[str]:
    """Return the texts of whole progress lines; a line that is none is passed over."""
    for line in lines.splitlines():
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError):
            continue
        yield str(text)
