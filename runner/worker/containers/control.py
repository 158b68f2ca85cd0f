"""A container that runs: whether it does, signals for all in it, and its end, also when nobody watches it any more."""

from __future__ import annotations

import signal
from typing import Optional

from runner.worker.containers import arguments, engines
from runner.worker.containers.commandline import name_of
from runner.worker.execution import kin
from runner.worker.facts import Container, InstalledEnvironment
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.tools import TimedOut, call
from runner.worker.values import dataclass

_PATIENCE = 20.0  # seconds an engine has to answer


@dataclass(frozen=True)
class Running:
    """A container by its name. Its processes are no relatives of ours where an engine of its own runs them."""

    program: str
    name: str
    run: str
    alone: bool  # it sees its own processes only
    by_service: bool  # docker's

    def lives(self) -> bool:
        """Whether a command still runs in it, as far as the engine can say."""
        answer = self._ask("container", "inspect", "--format", "{{.State.Running}}", self.name)
        return answer is not None and answer.strip() == "true"

    def tell(self, number: int) -> bool:
        """Send a signal to all in it but its first process; False where that cannot be done."""
        if not self.alone:  # all of the host would hear it
            kin.tell(kin.members(self.run), number)
            return True
        name = signal.Signals(number).name[3:]
        return self._ask("exec", self.name, "sh", "-c", f"kill -s {name} -1") is not None

    def remove(self) -> None:
        """End it at once, whatever state it is in, and leave nothing of it."""
        now = () if self.by_service else ("--time", "0")  # podman would first ask it to end, and wait
        self._ask("rm", "--force", *now, self.name)

    def _ask(self, *words: str) -> Optional[str]:
        try:
            done = call([self.program, *words], timeout=_PATIENCE)
        except (OSError, TimedOut):
            return None
        return done.text if done.code == 0 else None


def of(run: RunDirectory) -> Optional[Running]:
    """Return the container that a run has or had; None for a run that has none, or whose engine keeps none."""
    installed = run.find(InstalledEnvironment)
    if installed is None or installed.container is None:
        return None
    return running(run, run.read(RunSpec), installed.container)


def running(run: RunDirectory, spec: RunSpec, found: Container) -> Optional[Running]:
    """As ``of``, for who has read the files already."""
    kind = engines.of(found.engine, found.program).kind
    if kind == engines.APPTAINER:
        return None
    given = spec.environment.arguments
    return Running(
        program=found.program,
        name=name_of(run.id, given),
        run=run.id,
        alone="pid" not in arguments.names(given),
        by_service=kind == engines.DOCKER,
    )
