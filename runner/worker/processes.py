"""Processes told apart for certain: by pid, start time, boot and host; never by the pid alone."""

from __future__ import annotations

import os
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Optional

from runner.worker.facts import Identity


def identify(pid: int) -> Optional[Identity]:
    """Return the identity of a running process of this host; None where there is none (a zombie is none)."""
    started = _start_time(pid)
    return None if started is None else Identity(pid, started, boot_id(), host_id())


def myself() -> Identity:
    """Return this process's identity."""
    identity = identify(os.getpid())
    assert identity is not None
    return identity


def is_alive(identity: Identity) -> Optional[bool]:
    """Whether a process lives; None where it is another host's, which cannot be judged from here."""
    if identity.host != host_id():
        return None
    return identity.boot == boot_id() and _start_time(identity.pid) == identity.started


@lru_cache(maxsize=1)
def host_id() -> str:
    """Return what names this machine: its machine id where it has one, with the host name.

    A Mac is called otherwise in each network, so its hardware alone names it.
    """
    if sys.platform == "darwin":
        return hardware_in(_output("ioreg", "-rd1", "-c", "IOPlatformExpertDevice")) or os.uname().nodename
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            machine = Path(path).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if machine:
            return f"{os.uname().nodename}/{machine}"
    return os.uname().nodename


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return what names this boot of the machine."""
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "kern.bootsessionuuid")
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _start_time(pid: int) -> Optional[str]:
    if sys.platform == "darwin":
        return start_by_ps(pid)
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = status[status.rindex(b")") + 2 :].split()  # the name before may hold spaces and brackets
    return None if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")


def start_by_ps(pid: int) -> Optional[str]:
    """Return when a process began, as `ps` says it; None where there is none, or a zombie."""
    state, _, started = _output("ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)).partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def hardware_in(registry: str) -> str:
    """Return what names a Mac for good in what `ioreg` says of it, "" where it does not."""
    found = re.search(r'"IOPlatformUUID" = "([0-9A-Fa-f-]+)"', registry)
    return "" if found is None else found[1]


def _output(*argv: str) -> str:
    """Return what a program prints in one language and zone of time: the user's may change while a process lives."""
    from runner.worker.tools import call  # where /proc says it, no subprocess is needed, nor its import

    try:
        return call(argv, env={**os.environ, "LC_ALL": "C", "TZ": "UTC"}).text.strip()
    except OSError:
        return ""
