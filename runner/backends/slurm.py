"""Runs as jobs of Slurm, where this machine is a login node: the local worker prepares, and hands the run over."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from runner.backends.backend import Launch, Ticket
from runner.backends.local import LocalBackend
from runner.errors import BackendError, UsageError
from runner.worker.facts import Placement
from runner.worker.rundir import RunDirectory

if TYPE_CHECKING:
    from runner.store.store import Store


class SlurmBackend(LocalBackend):
    """The backend `slurm`."""

    name = "slurm"
    in_place = False  # a job may begin days later, and on another machine

    def configure(self, config: Mapping[str, Any]) -> None:
        """Take what is known of a host, and other options of sbatch by their long names: {"exclusive": true}.

        UsageError where one is wrong, or where the host is another machine.
        """
        from runner.backends.choice import host_here, host_of
        from runner.backends.host import Host

        known = {field.name for field in fields(Host)} | {"host"}
        mine = {key: value for key, value in config.items() if key in known}
        others = [_option(key, value) for key, value in config.items() if key not in known and value is not False]
        base = host_of({"host": mine["host"]}, self.name) if "host" in mine else None
        options = mine.get("options", [])
        if isinstance(options, list):  # what is none is refused with the other fields
            options = [*(() if base is None else base.options), *options, *others]
        self._host = host_here({**mine, "launcher": "slurm", "options": options}, self.name)

    def ready(self) -> None:
        """Raise BackendError where there is no Slurm here: then there is no run either."""
        if shutil.which("sbatch") is None and not (self._host is not None and self._host.setup):
            message = "there is no Slurm here: sbatch is not on PATH"
            hint = "`mlrun host add cluster user@login.node --launcher slurm` names one, and `--on cluster` runs there"
            raise BackendError(message, hint=hint)

    def submit(self, run: RunDirectory, store: Store, launch: Launch) -> Ticket:
        """Launch the worker that prepares a run here and submits its job."""
        return super().submit(run, store, replace(launch, root=None, foreground=False))

    def warm(self, *, foreground: bool) -> None:
        """Have a worker get ready, which never reads this process's standard input."""
        del foreground
        super().warm(foreground=False)

    def _placement(self, store: Store, launch: Launch) -> Placement:
        options = {} if self._host is None else self._host.launcher_options
        return replace(super()._placement(store, launch), launcher="slurm", launcher_options=options)


def _option(name: str, value: Any) -> str:
    if not isinstance(value, (str, int, float)):
        message = f"the option {name!r} of Slurm is given as {type(value).__name__}"
        raise UsageError(message, hint="options are text, numbers, or true for those without a value")
    return name if value is True else f"{name}={value}"
