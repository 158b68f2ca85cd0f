"""The programs that come with a run: which of those offered run on this machine, and what it lacks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Optional

from runner.worker.libc import libc
from runner.worker.remote.site import Site
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Machine:
    """What a program has to be made for."""

    system: str  # "Linux", "Darwin"
    processor: str  # as `uname -m` has it
    release: str  # of the GNU C library, "" for another; elsewhere of the kernel

    @property
    def family(self) -> str:
        """Equal where a program can be shared that brings along its own libraries: "linux-aarch64"."""
        return f"{'macos' if self.system == 'Darwin' else self.system.lower()}-{self.processor}"

    @property
    def kind(self) -> str:
        """Equal where any program may do; that its libraries are not too old here, trying it shows."""
        if self.system != "Linux":
            return self.family
        return f"{self.family}-{'glibc' if self.release else 'other'}"


@dataclass(frozen=True)
class Tool:
    """A program that the near end can give, for one kind or family of machines; "": for any."""

    name: str
    sha256: str
    size: int
    machine: str


@dataclass(frozen=True)
class Unmet:
    """A uv is lacking that runs on this machine, and why those that were found do not."""

    machine: Machine
    reason: str = ""


@dataclass(frozen=True)
class Kit:
    """Of the programs offered those to be used, those that are to come first, and what none of them is good for."""

    used: tuple[Tool, ...] = ()
    awaited: tuple[Tool, ...] = ()
    unmet: Optional[Unmet] = None

    def __add__(self, other: Kit) -> Kit:
        """Return both; not more than one of them is unmet."""
        return Kit(self.used + other.used, self.awaited + other.awaited, self.unmet or other.unmet)


def this_machine() -> Machine:
    """Return what programs have to be made for that are to run here."""
    names = os.uname()
    if names.sysname == "Linux":
        return Machine(names.sysname, names.machine, libc().partition(" ")[2])
    return Machine(names.sysname, names.machine, names.release)


def choose(offered: Sequence[Tool], site: Site) -> Kit:
    """Return what a run takes of the programs offered."""
    anywhere = [tool for tool in offered if not tool.machine]
    kit = Kit(tuple(_there(anywhere, site)), tuple(tool for tool in anywhere if not _is_there(tool, site)))
    return kit + _uv([tool for tool in offered if tool.machine], site)


def _uv(offered: Sequence[Tool], site: Site) -> Kit:
    """Choose a uv: the near end's own, else one that was sent here, else this machine's, else one that can be sent."""
    if not offered:
        return Kit()
    here, reasons = this_machine(), []
    own = [tool for tool in offered if tool.machine == here.kind]
    made = [tool for tool in offered if tool.machine == here.family]
    for tool in (*own, *_there(made, site)):
        if not _is_there(tool, site):
            return Kit(awaited=(tool,))
        reason = _tried(site.tool(tool.sha256, tool.name), here)
        if not reason:
            return Kit(used=(tool,))
        reasons.append(f"the one that was sent {reason}")
    from runner.worker.environment.uv import on_path, unfit  # where the near end's runs, nothing of it is needed

    found = on_path()
    if found is not None:
        reason = unfit(found)
        if not reason:
            return Kit()
        reasons.append(f"{found} {reason}")
    lacking = tuple(tool for tool in made if not _is_there(tool, site))
    return Kit(awaited=lacking[:1], unmet=None if lacking else Unmet(here, "; ".join(reasons)))


def _tried(tool: Path, here: Machine) -> str:
    """Return why a program does not run here, "" where it does; what was seen to run is not tried again.

    That it does not run is not kept: a disk may be mounted otherwise, and a home shared by several machines.
    """
    mark = tool.with_name(f"runs-on-{here.kind}-{here.release}")
    if mark.exists():
        return ""
    from runner.worker.environment.uv import unfit

    reason = unfit(str(tool))
    if not reason:
        with contextlib.suppress(OSError):
            mark.touch()
    return reason


def _there(tools: Iterable[Tool], site: Site) -> Iterator[Tool]:
    return (tool for tool in tools if _is_there(tool, site))


def _is_there(tool: Tool, site: Site) -> bool:
    return site.tool(tool.sha256, tool.name).exists()
