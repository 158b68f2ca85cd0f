"""The signals that ask a worker to stop: raised while it prepares, queued while its command runs."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Optional

from runner.worker.execution import kin

# What a signal to the worker asks to be sent to the command. KILL itself would end the worker, and not the command.
# SIGUSR1 is a launcher's word that the time is nearly up; it is passed on as SIGXCPU, which nobody else sends.
ASKING: Mapping[int, int] = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGQUIT: signal.SIGKILL,
    signal.SIGUSR1: signal.SIGXCPU,
}
TIME_IS_UP = signal.SIGXCPU


class Cancelled(BaseException):
    """Somebody asked for the run to end. No Exception, so that nothing on the way takes it for a failure."""

    def __init__(self, number: int) -> None:
        """Keep the number of the signal that the command would have got."""
        super().__init__(number)
        self.number = number


class Signals:
    """INT, TERM and CHLD, received through a pipe, so that a wait for them is one `select`."""

    def __init__(self) -> None:
        """Nothing is received before ``install``."""
        self.raising = False
        self.relatives: tuple[int, ...] = ()  # processes that were at work for us when Cancelled was raised
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def install(self) -> None:
        """Receive signals from here on. HUP is ignored: a lost terminal leaves the run running."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (*ASKING, signal.SIGCHLD):
            signal.signal(number, self._receive)

    def wait(self, seconds: float, also: Sequence[int] = ()) -> list[int]:
        """Return what was asked by the signals that came; wait for the first as long as is said.

        A descriptor among ``also`` that becomes readable ends the wait as well.
        """
        try:
            select.select([self._read, *also], [], [], seconds)
            return [ASKING[number] for number in os.read(self._read, 4096) if number in ASKING]
        except (BlockingIOError, InterruptedError):
            return []

    def _receive(self, number: int, _frame: Optional[FrameType]) -> None:
        if self.raising and number in ASKING:
            self.raising = False  # once: what cleans up after it is not interrupted
            self.relatives = tuple(kin.descendants(os.getpid()))
            raise Cancelled(ASKING[number])


def reset() -> None:
    """Give a forked child the signals of a fresh process: ignored ones would stay ignored in the command."""
    signal.set_wakeup_fd(-1)
    for number in (*ASKING, signal.SIGCHLD, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
