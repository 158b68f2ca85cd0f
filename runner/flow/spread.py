"""Work over many things by as many processes as there are processors, a part at a time and in their order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from runner.errors import MlrunError
from runner.worker.processors import processors

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")

_PART = 200  # things that one process is given at once; as few as that are done here
_MOST = 16  # processes: disks are not faster than that

_Work = Callable[[Any, Sequence[Any]], Any]


def spread(work: Callable[[S, Sequence[T]], R], shared: S, things: Sequence[T]) -> Iterator[R]:
    """Yield ``work(shared, part)`` for one part of the things after the other.

    ``work`` is a function of a module; it, ``shared``, the things and the results travel between processes.
    """
    parts = [things[first : first + _PART] for first in range(0, len(things), _PART)]
    number = min(processors(), len(parts), _MOST)
    if number < 2:  # noqa: PLR2004
        yield from (work(shared, part) for part in parts)
        return
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(number, initializer=_begin, initargs=(work, shared))
    try:
        yield from pool.map(_do, parts)
    except BrokenProcessPool:
        message = "a process that did part of the work was killed"
        raise MlrunError(message, hint="no memory may have been left (`dmesg` knows); run it again") from None
    finally:
        pool.shutdown(cancel_futures=True)


_task: list[tuple[_Work, Any]] = []  # of this process, where it is one of several


def _begin(work: _Work, shared: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: who asked for the work ends it
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _task[:] = [(work, shared)]


def _leave_with_parent() -> None:
    """End this process when the one that began it is gone, however it went: nobody else would."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do(part: Sequence[Any]) -> Any:
    work, shared = _task[0]
    return work(shared, part)
