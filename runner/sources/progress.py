"""What git says of a long transfer, in a line now and then instead of a hundred a second."""

from __future__ import annotations

import time
from collections.abc import Callable

from git.util import RemoteProgress

_EVERY = 5.0  # seconds between two lines of one phase
_PHASES = {RemoteProgress.RECEIVING: "receiving objects", RemoteProgress.RESOLVING: "resolving deltas"}


def listener(say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> Callable[[str], None]:
    """Return what takes the lines of `git fetch --progress` and passes on what people want to hear of them."""
    listener: Callable[[str], None] = _Progress(say, clock).new_message_handler()
    return listener


class _Progress(RemoteProgress):
    """GitPython reads the lines."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        super().__init__()
        self._say = say
        self._clock = clock
        self._said = clock()

    def update(
        self, op_code: int, cur_count: str | float, max_count: str | float | None = None, message: str = ""
    ) -> None:
        """Take one state of a phase."""
        phase = _PHASES.get(op_code & self.OP_MASK)
        over = op_code & self.END
        if phase is None or not (over or self._clock() - self._said >= _EVERY):
            return
        self._said = self._clock()
        share = f"{float(cur_count):.0f}" + (f" of {float(max_count):.0f}" if max_count and not over else "")
        self._say(f"{phase}: {share}" + (f", {message}" if message else ""))
