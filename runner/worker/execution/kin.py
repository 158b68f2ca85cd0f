"""The processes that descend from another, also those that left its process group; and how they are ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

WORKER = "MLRUN_WORKER"  # in the environment of every worker that a backend launched: it has a run of its own
_SUBREAPER = 36  # linux/prctl.h: PR_SET_CHILD_SUBREAPER


def adopt_orphans() -> None:
    """Become the parent of every descendant whose parent dies, where the kernel can: none is lost from sight."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """Return the processes that descend from ``pid``, parents before children."""
    if not os.path.exists("/proc/self/task"):
        return _below(pid, _parents_by_ps())
    if not os.path.exists("/proc/thread-self/children"):
        return _below(pid, _parents_by_proc())
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def own_runs(pids: Iterable[int]) -> set[int]:
    """Return those among ``pids`` that belong to nested runs: a run detached inside a run outlives it."""
    nested: set[int] = set()
    for pid in pids:
        if pid not in nested and _is_worker(pid):
            nested.update((pid, *descendants(pid)))
    return nested


def living(pid: int) -> list[int]:
    """Return the descendants of ``pid`` that run, without those that belong to nested runs."""
    found = [each for each in descendants(pid) if not _is_zombie(each)]
    nested = own_runs(found) if found else set()
    return [each for each in found if each not in nested]


def remains(group: int) -> list[int]:
    """Return what is left of a command of ours: every descendant; where orphans are not adopted, its process group."""
    return living(os.getpid()) if os.path.exists("/proc/self") else of_group(group)


def of_group(group: int) -> list[int]:
    """Return the processes of a group, zombies not counted, as `ps` knows them."""
    from runner.worker.tools import call

    rows = [line.split() for line in call(["ps", "-axo", "pid=,pgid=,stat="]).text.splitlines()]
    return [int(pid) for pid, number, state in rows if int(number) == group and not state.startswith("Z")]


def members(run: str) -> list[int]:
    """Return the processes that carry a run's id in their environment: what is left of it when its worker is gone."""
    wanted = f"MLRUN_RUN_ID={run}".encode()
    found = []
    for name in _numbers("/proc"):
        environment = _read(f"/proc/{name}/environ").split(b"\0")
        if wanted in environment and not any(word.startswith(f"{WORKER}=".encode()) for word in environment):
            found.append(name)
    return [pid for pid in found if not _is_zombie(pid)]


def tell(pids: Iterable[int], number: int) -> None:
    """Send a signal to each process; one that is gone, or another user's, is passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
            if number == signal.SIGTERM:
                os.kill(pid, signal.SIGCONT)  # a stopped process would never hear of it


def tell_group(group: int, number: int) -> None:
    """Send a signal to a process group, which may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        if number in (signal.SIGTERM, signal.SIGINT):
            os.killpg(group, signal.SIGCONT)


def end(pids: Iterable[int], grace: float) -> None:
    """End processes that are no longer wanted: TERM, and KILL after ``grace`` seconds."""
    left = [pid for pid in pids if _lives(pid)]
    tell(left, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = [pid for pid in left if _lives(pid)]
    tell(left, signal.SIGKILL)


def _lives(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _children(pid: int) -> list[int]:
    children: list[int] = []
    for thread in _numbers(f"/proc/{pid}/task"):
        children += [int(word) for word in _read(f"/proc/{pid}/task/{thread}/children").split()]
    return children


def _below(pid: int, parents: dict[int, int]) -> list[int]:
    found, fresh = [], {pid}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh}
        found += sorted(fresh)
    return found


def _parents_by_proc() -> dict[int, int]:
    statuses = {pid: _status(pid) for pid in _numbers("/proc")}
    return {pid: int(fields[1]) for pid, fields in statuses.items() if fields}


def _parents_by_ps() -> dict[int, int]:
    from runner.worker.tools import call

    pairs = [line.split() for line in call(["ps", "-axo", "pid=,ppid="]).text.splitlines()]
    return {int(pair[0]): int(pair[1]) for pair in pairs if len(pair) == 2}  # noqa: PLR2004


def _is_worker(pid: int) -> bool:
    return f"{WORKER}=".encode() in b"\0" + _read(f"/proc/{pid}/environ")


def _is_zombie(pid: int) -> bool:
    fields = _status(pid)
    return bool(fields) and fields[0] in (b"Z", b"X")


def _status(pid: int) -> list[bytes]:
    status = _read(f"/proc/{pid}/stat")
    return status[status.rindex(b")") + 2 :].split() if status else []  # the name before may hold anything


def _numbers(directory: str) -> list[int]:
    try:
        return [int(name) for name in os.listdir(directory) if name.isdigit()]
    except OSError:
        return []


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as stream:
            return stream.read()
    except OSError:
        return b""
