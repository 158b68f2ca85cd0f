"""Watches over a command until nothing of it is left: its time limit, requests to end it, and what it leaves behind."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from runner.worker.execution import kin
from runner.worker.execution.signals import TIME_IS_UP, Signals
from runner.worker.execution.usage import Meter
from runner.worker.results import Usage
from runner.worker.values import dataclass

if TYPE_CHECKING:
    from runner.worker.execution.enclosure import Enclosure
    from runner.worker.tracking.endpoint import Endpoint

Step = tuple[int, float]  # a signal, and how long it is given

INT_GRACE, TERM_GRACE = 5.0, 10.0  # seconds a command has after each signal, before the next one comes
LINGER = 0.3  # seconds what outlives a command has to end by itself: `> >(tee log)` is still writing
LEFT_GRACE = 5.0  # seconds between TERM and KILL for what is left behind
_HOPELESS = 30.0  # seconds after KILL: what still stands then waits for a disk that does not answer
_AGAIN = 0.05  # seconds between looks where no signal tells of a death

KILL: tuple[Step, ...] = ((signal.SIGKILL, _HOPELESS),)
TERM: tuple[Step, ...] = ((signal.SIGTERM, TERM_GRACE), *KILL)
INT: tuple[Step, ...] = ((signal.SIGINT, INT_GRACE), *TERM)
_LADDERS: Mapping[int, tuple[Step, ...]] = {signal.SIGINT: INT, signal.SIGTERM: TERM, signal.SIGKILL: KILL}
LEFT: tuple[Step, ...] = ((signal.SIGTERM, LEFT_GRACE), *KILL)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    exit_code: Optional[int]
    signal: Optional[int]
    cancelled: Optional[int]  # the signal that asked for it
    timed_out: bool
    usage: Usage
    left_behind: int = 0  # processes that outlived the command and were ended
    undead: int = 0  # processes that outlived even KILL


class Watch:
    """One command, from the opening of its gate until none of its processes is left."""

    def __init__(
        self,
        pid: int,
        signals: Signals,
        limit: Optional[float],
        endpoint: Optional[Endpoint] = None,
        enclosure: Optional[Enclosure] = None,
    ) -> None:
        """Watch the child ``pid``, which leads a process group; ``limit``: seconds it may take.

        ``enclosure``: the child is a container's engine, and what it runs is spoken to through this.
        """
        self._pid = pid
        self._enclosure = enclosure
        self._endpoint = endpoint
        self._signals = signals
        self._meter = Meter()
        self._limit = math.inf if limit is None else time.monotonic() + limit
        self._ladder: tuple[Step, ...] = ()  # the one that is climbed
        self._steps: list[Step] = []  # those of its steps that are to come
        self._due = math.inf  # of the next step
        self._status: Optional[int] = None
        self._usage: Optional[Usage] = None  # at the moment the command itself ended
        self._left: list[int] = []
        self._behind: set[int] = set()
        self._cancelled: Optional[int] = None
        self._timed_out = self._given_up = False

    def until_over(self) -> Ended:
        """Return how it ended; that takes as long as the command, and a bounded time more."""
        while not self._is_over():
            for number in self._signals.wait(self._patience(), () if self._endpoint is None else self._endpoint.door):
                self._ask(number)
            if self._endpoint is not None:
                self._endpoint.tend()
            self._reap()
            self._check_time()
        assert self._status is not None or self._given_up
        return self._ended()

    def _ask(self, number: int) -> None:
        """Begin to end the command: INT and TERM each by their ladder, KILL and a second INT at once."""
        if number == TIME_IS_UP:
            self._limit = time.monotonic()
            return
        if self._cancelled is not None and number == self._cancelled == signal.SIGINT:
            number = signal.SIGKILL
        ladder = _LADDERS[number]
        if len(ladder) >= len(self._ladder) > 0:
            return  # what goes on is no softer than what is asked
        if self._status is None:
            self._cancelled = self._cancelled or number
            self._climb(ladder)
        elif number == signal.SIGKILL:
            self._climb(KILL)

    def _climb(self, steps: Sequence[Step], delay: float = 0.0) -> None:
        self._ladder = tuple(steps)
        self._steps = list(steps)
        self._due = time.monotonic() + delay

    def _check_time(self) -> None:
        now = time.monotonic()
        if now >= self._meter.due and self._status is None:
            self._meter.sample(apart=0 if self._endpoint is None else self._endpoint.server)
        if now >= self._limit and self._status is None:
            self._limit = math.inf
            if self._cancelled is None:
                self._timed_out = True
                self._climb(TERM)
        if now >= self._due:
            self._step()

    def _step(self) -> None:
        if not self._steps:
            self._given_up = True
            return
        number, grace = self._steps.pop(0)
        self._due = time.monotonic() + grace
        if self._status is None and self._enclosure is not None:
            self._enclosure.tell(self._pid, number)
        elif self._status is None:
            kin.tell_group(self._pid, number)
            if number == signal.SIGKILL:
                kin.tell(kin.living(os.getpid()), number)
        else:
            self._behind.update(self._left)
            kin.tell(self._left, number)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if self._endpoint is not None and self._endpoint.reaped(pid):
                continue
            self._meter.reaped(used)
            if pid == self._pid:
                self._status = status
                self._usage = self._meter.usage()
                self._climb_after()
        if self._status is not None:
            self._left = kin.remains(self._pid)

    def _climb_after(self) -> None:
        """The command itself is gone: what it left behind gets a moment, and a ladder of its own."""
        brutal = bool(self._ladder) and not self._steps  # KILL was sent
        if self._enclosure is not None:  # the kernel has ended the command's; the engine's own put the container away
            self._enclosure.ended(self._status or 0)
            self._climb(LEFT, self._enclosure.linger)
            return
        self._climb(KILL if brutal else LEFT, 0.0 if brutal else LINGER)

    def _is_over(self) -> bool:
        return self._given_up or (self._status is not None and not self._left)

    def _patience(self) -> float:
        sample = self._meter.due if self._status is None else math.inf
        wait = min(self._due, self._limit, sample) - time.monotonic()
        return max(0.0, min(wait, _AGAIN if self._status is not None else 60.0))

    def _ended(self) -> Ended:
        code = number = None
        if self._status is not None and os.WIFSIGNALED(self._status):
            number = os.WTERMSIG(self._status)
        elif self._status is not None:
            code = os.WEXITSTATUS(self._status)
        undead = len(self._left) + (self._status is None)
        return Ended(
            exit_code=code,
            signal=number,
            cancelled=self._cancelled,
            timed_out=self._timed_out,
            usage=self._total(),
            left_behind=len(self._behind),
            undead=undead,
        )

    def _total(self) -> Usage:
        """CPU and memory of all that was reaped; the time until the command itself had ended."""
        from dataclasses import replace

        total = self._meter.usage()
        return total if self._usage is None else replace(total, wall=self._usage.wall)
