"""The exit code of `mlrun run`: the command's own, else what says why there is none."""

from __future__ import annotations

import signal

from runner.worker.results import Outcome

TIMEOUT = 124
FAILURE = 125  # of mlrun's own, or of the machine
_SIGNALLED = 128


def exit_code(outcome: Outcome) -> int:
    """Return the exit code that stands for an outcome."""
    if outcome.status == "killed":
        return _SIGNALLED + (outcome.cancelled or outcome.signal or signal.SIGTERM)
    if outcome.reason == "timeout":
        return TIMEOUT
    if outcome.status == "lost" or outcome.reason in ("prepare", "submit", "node-fail"):
        return FAILURE
    if outcome.exit_code is not None:
        return outcome.exit_code
    return FAILURE if outcome.signal is None else _SIGNALLED + outcome.signal
