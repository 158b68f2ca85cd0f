"""A command in a container: the line that starts it, its variables on their way in, its signals, and its end."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Optional

from runner.worker.containers import arguments, commandline, engines, inside
from runner.worker.containers.control import Running, running
from runner.worker.containers.images import last_line
from runner.worker.containers.volumes import expand, target
from runner.worker.execution import kin
from runner.worker.execution.surroundings import Environ
from runner.worker.execution.workplace import Workplace
from runner.worker.facts import Container, Gap
from runner.worker.results import Failure, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.values import dataclass

_NO_GPU = (
    "the engine has no GPU to give: it wants the NVIDIA container toolkit (`nvidia-ctk runtime configure` for docker, "
    "`nvidia-ctk cdi generate` for podman), or ask for none under `resources`"
)
_TAIL = 4096  # bytes of what an engine said that are looked at for its last line
_ENGINES_OWN = frozenset({125, 126, 127})  # exit codes by which an engine says that it did not come to the command


@dataclass(frozen=True)
class Enclosure:
    """What is between a worker and a command in a container; `Watch` speaks to it as to a process group."""

    run: RunDirectory
    argv: tuple[str, ...]
    entrypoint: tuple[str, ...]  # of the image, where it stands before the command
    odd: tuple[str, ...]  # variables that no shell takes
    container: Optional[Running]  # None: the engine is no more than a parent of the command
    linger: float = 5.0  # seconds the engine has to put the container away, before what is left is ended

    def surround(self, environ: Environ) -> Environ:
        """Write a command's variables where the container reads them; return those of the engine itself."""
        descriptor = os.open(self.run.variables, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(inside.script(environ))
        own = dict(os.environb)
        own.pop(kin.WORKER.encode(), None)
        own[b"MLRUN_RUN_ID"] = os.fsencode(self.run.id)
        # apptainer takes a variable in by a name of its own for it, the others by `--env NAME`.
        prefix = f"{os.path.basename(self.argv[0]).upper()}ENV_" if self.container is None else ""
        own.update({os.fsencode(prefix + name): environ[os.fsencode(name)] for name in self.odd})
        return own

    def tell(self, pid: int, number: int) -> None:
        """Send a signal to what runs in the container; to the engine's own process where nothing does yet."""
        if self.container is None:
            kin.tell_group(pid, number)
        elif number == signal.SIGKILL:
            kin.tell_group(pid, number)  # first: it must not go on to make the container that is to be removed
            self.container.remove()
        elif not self.container.tell(number):
            kin.tell_group(pid, number)

    def ended(self, status: int) -> None:
        """See to it that no container outlives the engine's process, which may have been killed, or cut off."""
        if self.container is not None and (os.WIFSIGNALED(status) or os.WEXITSTATUS(status) in _ENGINES_OWN):
            self.container.remove()

    def judge(self, outcome: Outcome) -> Outcome:
        """Return the outcome of a run whose engine has ended: it is the engine's where the command never began."""
        begun = self._begun()
        self.run.variables.unlink(missing_ok=True)
        if not begun and outcome.reason != "timeout" and outcome.status != "killed":
            return replace(
                outcome, status="failed", exit_code=None, reason="submit", error=self._failure(outcome.exit_code)
            )
        if self.container is not None and self.container.by_service:
            reason = "the engine's service ran the command: CPU time and memory are those of its client alone"
            return replace(outcome, gaps=(*outcome.gaps, Gap("result.usage", reason)))
        return outcome

    def _failure(self, code: Optional[int]) -> Failure:
        if self.entrypoint and code not in _ENGINES_OWN:
            message = f"the image's ENTRYPOINT ({' '.join(self.entrypoint)}) did not run the command"
            return Failure(message, "`-A entrypoint=` leaves it out")
        said = self._complaint()
        hint = "see `mlrun logs`"
        if "`sh`" in said or '"sh"' in said:
            hint = "the command is run by the image's `sh`: take an image that has one"
        elif "[[gpu]]" in said or "CDI device" in said:
            hint = _NO_GPU
        elif self.run.variables.name in said:
            hint = "the command has to be able to read the run's directory, which is yours alone: leave `-A user` out"
        return Failure(f"the container could not be started: {said}", hint)

    def _begun(self) -> bool:
        """Whether the command has taken its variables."""
        try:
            return self.run.variables.stat().st_size == 0
        except FileNotFoundError:
            return True

    def _complaint(self) -> str:
        with open(self.run.stderr, "rb") as stream:
            stream.seek(max(0, os.path.getsize(self.run.stderr) - _TAIL))
            return last_line(stream.read().decode("utf-8", "replace"))


def enclose(
    run: RunDirectory, spec: RunSpec, found: Container, workplace: Workplace, command: str, environ: Environ
) -> Enclosure:
    """Return how a rendered command is run in a container; EnvironmentBuildError where it cannot be shown a path."""
    engine = engines.of(found.engine, found.program)
    volumes = tuple(expand(volume, workplace.project, os.environ) for volume in spec.environment.volumes)
    taken = {*map(target, volumes), *arguments.targets(spec.environment.arguments)}
    container = running(run, spec, found)
    if container is None:
        home_of(run).mkdir(parents=True, exist_ok=True, mode=0o700)
    odd = inside.odd(environ)
    prefix = None if "entrypoint" in arguments.names(spec.environment.arguments) else inside.replaced(found.entrypoint)
    wanted = commandline.Wanted(
        image=found.place,
        name=commandline.name_of(run.id, spec.environment.arguments),
        run=run.id,
        mounts=inside.mounts(workplace.project, run.path, spec.inputs, workplace.places, taken),
        volumes=volumes,
        arguments=spec.environment.arguments,
        variables=odd,
        gpus=spec.resources.gpus or 0,
        home=str(home_of(run)),
        entrypoint=prefix is None,
    )
    alone = container is not None and container.alone
    words = inside.shell((prefix or "") + command, run.variables, strict=spec.strict_shell, alone=alone)
    argv = commandline.argv(engine, wanted, words, os.environ)
    return Enclosure(run, argv, found.entrypoint if prefix is None else (), odd, container)


def variables_of(run: RunDirectory, spec: RunSpec, found: Container) -> Mapping[str, str]:
    """Return the variables that docker_env sets, and a home and a name for a user whom the image does not know."""
    declared = dict(pair.split("=", 1) for pair in spec.environment.variables if "=" in pair)
    if commandline.identity(engines.of(found.engine, found.program), os.environ)[0] == 0:
        return declared
    home = home_of(run)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    user = _user()
    return {"HOME": str(home), "USER": user, "LOGNAME": user, **declared}


def home_of(run: RunDirectory) -> Path:
    """Return the home directory of a command whose user has none in the image; it is removed after the run."""
    return run.scratch / "home"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
