"""Tells the near end what a run says and prints, by offsets, until it has ended."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from runner.errors import RunNotFoundError
from runner.worker.codec import encode
from runner.worker.facts import Launching
from runner.worker.files import read_block
from runner.worker.look import look
from runner.worker.remote.frames import Channel
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.state import SUBMITTED, UNREACHABLE, State
from runner.worker.tools import reap

_BLOCK = 1 << 18
_SOONEST, _LATEST = 0.002, 0.1  # seconds between two looks at the files
_WAITING = 0.5  # the same, while a run is in a queue: its files may lie on a network's file system
_LOOK = 0.5  # seconds between two looks at the processes


class Follow:
    """A run's growing files, and how far they have been told."""

    def __init__(self, channel: Channel, run: RunDirectory, offsets: Mapping[str, int]) -> None:
        """Begin where the near end left off."""
        self._channel, self._run = channel, run
        paths = {
            "progress": run.progress, "stdout": run.stdout, "stderr": run.stderr,
            "metrics": run.metrics, "tracking": run.tracking,
        }  # fmt: skip
        self._files = {name: (path, offsets.get(name, 0)) for name, path in paths.items()}
        self._remarked = ""

    def until_ended(self) -> None:
        """Tell all until the run has ended, and then how."""
        if not self._run.path.exists():
            raise unknown(self._run)
        quiet = looked = time.monotonic()
        while not self._run.has(Outcome):
            now = time.monotonic()
            if self._tell():
                quiet = now
            if now - looked > _LOOK:
                looked = now
                reap()
                state = look(self._run)
                if state.ended or (state.name == UNREACHABLE and not self._run.has(Launching)):
                    break
                self._remark(state)
            time.sleep(min(max(_SOONEST, (now - quiet) / 10), _WAITING if self._remarked else _LATEST))
        while self._tell():
            pass
        self._channel.send("ended", **said(look(self._run)))

    def _remark(self, state: State) -> None:
        """Tell what a run waits for: its place in a queue, or a launcher that does not answer and will again."""
        if state.name in (SUBMITTED, UNREACHABLE) and state.remark not in ("", self._remarked):
            self._remarked = state.remark
            self._channel.send("remark", text=state.remark)
        elif state.name not in (SUBMITTED, UNREACHABLE):
            self._remarked = ""

    def so_far(self) -> None:
        """Tell what there is now, and no more."""
        if not self._run.path.exists():
            raise unknown(self._run)
        while self._tell():
            pass
        self._channel.send("ended", **said(look(self._run)))

    def _tell(self) -> bool:
        """Tell at most one block of each file; whether there was any."""
        found = False
        for name, (path, offset) in self._files.items():
            data = read_block(path, offset, _BLOCK)
            if data:
                self._channel.send("piece", data, file=name, offset=offset)
                self._files[name] = (path, offset + len(data))
                found = True
        return found


def said(state: State) -> "dict[str, Any]":
    """Return a state as a frame's head has it."""
    return {"state": state.name, "outcome": encode(state.outcome), "remark": state.remark, "started": state.started}


def unknown(run: RunDirectory) -> RunNotFoundError:
    """Return what is said of a run that is not here."""
    return RunNotFoundError(
        f"the run {run.id} is not on {os.uname().nodename}", hint="it was removed there, or never came"
    )
