"""Whether the kernel ran out of memory and killed something, read off its counters before and after."""

from __future__ import annotations

import os
from typing import Optional

from runner.worker.values import dataclass


@dataclass(frozen=True)
class Kills:
    """How many processes the kernel has killed for want of memory."""

    group: Optional[int]  # in the control group of this process; None where it is not said
    machine: Optional[int]

    def more_in_group(self, before: Kills) -> int:
        """Return by how much the group's own counter went up: those were ours."""
        return 0 if self.group is None or before.group is None else max(0, self.group - before.group)

    def more_on_machine(self, before: Kills) -> bool:
        """Whether some process of the machine was killed, which may have been ours."""
        return self.machine is not None and before.machine is not None and self.machine > before.machine


def count_kills() -> Kills:
    """Return the counters as they are now; None for what this kernel does not count."""
    return Kills(_group_kills(), _counter("/proc/vmstat"))


def _group_kills() -> Optional[int]:
    for line in _text("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            root, name = "/sys/fs/cgroup/memory", "memory.oom_control"
        elif controllers == "":
            root, name = "/sys/fs/cgroup", "memory.events"
        else:
            continue
        for directory in (root + path, root):  # inside a container the path is the host's: its own group is the root
            kills = _counter(os.path.join(directory, name))
            if kills is not None:
                return kills
    return None


def _counter(path: str) -> Optional[int]:
    for line in _text(path).splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.isdigit():
            return int(value)
    return None


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
