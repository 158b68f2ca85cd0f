"""What a command uses: CPU time of all that was reaped, and the most memory its tree held at once."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from runner.worker.execution import kin
from runner.worker.results import Usage

if TYPE_CHECKING:
    import resource

_FIRST, _LAST = 0.02, 1.0  # seconds between samples, at the beginning and at most
_SEES_OTHERS = sys.platform == "linux"
_SHARE = 50  # one sample may cost at most a fiftieth of the time between two


class Meter:
    """Adds up what the descendants of this process use, from now on."""

    def __init__(self) -> None:
        """Begin."""
        self._began = time.monotonic()
        self._user = self._system = 0.0
        self._largest = 0  # of any one process, as the kernel has it
        self._tree = 0  # of all together, as sampled
        self._samples = 0
        self.due = self._began + _FIRST

    def reaped(self, used: resource.struct_rusage) -> None:
        """Count a process that has ended, with those it has reaped itself."""
        self._user += used.ru_utime
        self._system += used.ru_stime
        unit = 1 if sys.platform == "darwin" else 1024
        self._largest = max(self._largest, used.ru_maxrss * unit)

    def sample(self, apart: int = 0) -> None:
        """Look at the memory of the tree, and say when to look again; the process ``apart`` does not count."""
        before = time.monotonic()
        size = sum(_resident(pid) for pid in kin.descendants(os.getpid()) if pid != apart) if _SEES_OTHERS else 0
        if size:
            self._samples += 1
            self._tree = max(self._tree, size)
        after = time.monotonic()
        pause = max(_FIRST, (after - self._began) / 20, (after - before) * _SHARE)
        self.due = after + min(pause, _LAST)

    def usage(self) -> Usage:
        """Return the sum so far. A tree shorter-lived than a sample is known by its largest process alone."""
        wall = time.monotonic() - self._began
        peak = max(self._tree, self._largest) or None
        return Usage(
            wall=round(wall, 6),
            user=round(self._user, 6),
            system=round(self._system, 6),
            peak_memory=peak,
            basis="observed" if self._samples else "inferred",
            samples=self._samples,
        )


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
