"""Looks at a host before anything is run there: does it answer, what has it, what does it lack."""

from __future__ import annotations

import os
import time

from runner.backends.host import Host
from runner.backends.ssh.connection import Connection
from runner.environments.installer import configured
from runner.store.home import cache
from runner.worker.codec import decode, encode
from runner.worker.environment.locks.indexes import default_index
from runner.worker.remote.check import Item, Question, check
from runner.worker.remote.kit import this_machine
from runner.worker.remote.site import Site


def inspect(host: Host) -> tuple[Item, ...]:
    """Return what a host has and lacks; BackendError where it cannot be asked."""
    question = _question(host)
    if host.is_here:
        from runner.store.home import home

        return check(Site(str(home()), str(cache()), ""), question)
    began = time.monotonic()
    with Connection(host, cache()) as connection:
        connection.ask("greet")
        took = time.monotonic() - began
        answer = connection.ask("check", asked=encode(question))
    items = tuple(decode(Item, one, f"what {host.name} says") for one in answer.head["found"])
    return (Item("ssh", f"{host.address} answered in {took:.1f} s"), *items)


def _question(host: Host) -> Question:
    found = configured(os.environ)
    return Question(
        launcher=host.launcher,
        container_engine=host.container_engine,
        index="" if found.get("MLRUN_NO_INDEX") else default_index(found),
        ships_packages=host.ship_packages,
        machine=this_machine().kind,
        python=host.python,
    )
