"""Tickets of runs on other machines: which machine, so that a run is found although the host was struck out since."""

from __future__ import annotations

from dataclasses import replace

from runner.backends import hosts
from runner.backends.backend import Ticket
from runner.backends.host import Host
from runner.errors import FormatError, MlrunError, UsageError

_HOME = "~/.local/share/mlrun"


def write(run: str, host: Host, *, fetch: bool) -> Ticket:
    """Return the ticket of a run that is about to be launched on a host."""
    data = {
        "host": host.name,
        "address": host.address,
        "port": str(host.port or ""),
        "home": host.home,
        "cache": host.cache,
        "python": host.python,
        "launcher": host.launcher,
        "setup": host.setup if host.launcher != "direct" else "",
        "fetch": "yes" if fetch and host.fetch else "no",
    }
    return Ticket(run, "ssh", f"{host.home or _HOME}/runs/{run}", data)


def host_of(ticket: Ticket) -> Host:
    """Return where a run is. How the machine is reached may have changed since, where the run lies there has not.

    FormatError where the ticket does not say it.
    """
    then = _noted(ticket)
    try:
        now = hosts.read().get(then.name)
    except MlrunError:  # the file is being edited; the run is where it was
        return then
    if now is None or now.is_here:
        return then
    return replace(then, address=now.address, port=now.port, python=now.python, setup=now.setup)


def _noted(ticket: Ticket) -> Host:
    data = ticket.data
    try:
        return Host(
            name=data["host"],
            address=data["address"],
            port=int(data["port"]) if data.get("port") else None,
            home=data.get("home", ""),
            cache=data.get("cache", ""),
            python=data.get("python", ""),
            setup=data.get("setup", ""),
            launcher=data.get("launcher", "direct"),
        )
    except (KeyError, ValueError, UsageError) as error:
        why = error.message if isinstance(error, UsageError) else str(error)
        message = f"the ticket of the run {ticket.run} does not say where it is: {why}"
        raise FormatError(message, hint="it was written by a newer mlrun, or changed by hand") from None


def fetches(ticket: Ticket) -> bool:
    """Whether the outputs of a run come back by themselves."""
    return ticket.data.get("fetch") != "no"
