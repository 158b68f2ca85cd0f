"""The command line that runs a command in a container: docker's, podman's, apptainer's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Optional

from runner.errors import EnvironmentBuildError
from runner.worker.containers import arguments
from runner.worker.containers.engines import APPTAINER, DOCKER, PODMAN, Engine
from runner.worker.containers.inside import PROJECT, Mount
from runner.worker.values import dataclass

LABEL = "org.mlrun.run"  # with the run's id, on every container
_SUBUID = "/etc/subuid"
_SELINUX = "/sys/fs/selinux/enforce"


@dataclass(frozen=True)
class Wanted:
    """A container to be run."""

    image: str  # what the engine calls exactly this one
    name: str
    run: str  # the run's id
    mounts: tuple[Mount, ...]
    volumes: tuple[str, ...]  # expanded
    arguments: tuple[str, ...]  # of the user
    variables: tuple[str, ...]  # names that the engine copies from its own environment
    gpus: int
    home: str
    entrypoint: bool = True  # the image's own stays in place


def argv(engine: Engine, wanted: Wanted, command: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the whole command line; EnvironmentBuildError for a path that the engine cannot be told."""
    if engine.kind == APPTAINER:
        return (*_apptainer(engine, wanted, environ), wanted.image, *command)
    given = arguments.names(wanted.arguments)
    own = [word for option in _options(engine, wanted, environ) if option[0] not in given for word in option[1:]]
    return (engine.program, "run", *own, *_given(engine, wanted), wanted.image, *command)


def _options(engine: Engine, wanted: Wanted, environ: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Yield an option's name, and its words: where the user gives it, theirs is taken alone."""
    yield "rm", "--rm"
    yield "name", "--name", wanted.name
    yield "", "--label", f"{LABEL}={wanted.run}"
    if "tty" not in arguments.names(wanted.arguments):  # docker has no terminal to give, and refuses both together
        yield "interactive", "--interactive"
    if not wanted.entrypoint:
        yield "entrypoint", "--entrypoint", ""
    yield "workdir", "--workdir", PROJECT
    # On the host's network: the run's tracking endpoint listens on the host's loopback, and on nothing wider.
    yield "network", "--network", "host"
    yield "log-driver", "--log-driver", "none"  # the engine would keep a second copy of the output
    if engine.kind == PODMAN:
        yield "pid", "--pid", "private"  # whatever its configuration says: all in it are signalled together
    yield from _identity(engine, environ)
    if os.path.exists(_SELINUX):
        yield "", "--security-opt", "label=disable"  # else nothing of the host can be read, or has to be labelled anew
    for mount in wanted.mounts:
        yield "", "--mount", _mount(mount)
    for volume in wanted.volumes:
        yield "", "--volume", volume
    for variable in wanted.variables:
        yield "", "--env", variable
    for option in _gpus(engine, wanted.gpus, environ):
        yield ("gpus", *option)


def identity(engine: Engine, environ: Mapping[str, str]) -> tuple[int, int]:
    """Return the user and group that a command has inside, so that outside what it writes is the user's."""
    own = (os.getuid(), os.getgid())
    if own[0] == 0 or engine.kind == APPTAINER:
        return own
    if engine.kind == PODMAN:
        return own if _has_others() else (0, 0)
    return (0, 0) if _is_rootless(environ) else own


def _identity(engine: Engine, environ: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    user, group = identity(engine, environ)
    yield "user", "--user", f"{user}:{group}"
    if engine.kind == PODMAN and user != 0:
        yield "userns", "--userns", "keep-id"
    if engine.kind == DOCKER and user != 0:
        for other in sorted(set(os.getgroups()) - {group}):
            yield "group-add", "--group-add", str(other)


def _has_others() -> bool:
    """Whether podman may give this user further user ids: without, an image has no user but root, who is this one."""
    names = {str(os.getuid()), _name()}
    try:
        with open(_SUBUID, encoding="utf-8", errors="replace") as stream:
            return any(line.partition(":")[0] in names for line in stream)
    except OSError:
        return False


def _name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def _is_rootless(environ: Mapping[str, str]) -> bool:
    """Whether docker's engine runs as the user: its root is the user."""
    own = f"/run/user/{os.getuid()}/"
    return environ.get("DOCKER_HOST", "").startswith(f"unix://{own}") or environ.get("DOCKER_CONTEXT") == "rootless"


def _gpus(engine: Engine, count: int, environ: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Ask for as many as are wanted: those that Slurm has given to the job, else the first."""
    if count <= 0:
        return
    allotted = [word for word in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word]
    if engine.kind == DOCKER:
        yield ("--gpus", f'"device={",".join(allotted[:count])}"' if allotted else str(count))
        return
    for number in allotted[:count] or range(count):
        yield ("--device", f"nvidia.com/gpu={number}")


def _given(engine: Engine, wanted: Wanted) -> Iterator[str]:
    """Yield the user's arguments; `gpus` is docker's word, which podman takes and passes over."""
    for argument in wanted.arguments:
        name, _, text = argument.partition("=")
        if name != "gpus" or engine.kind == DOCKER:
            yield from arguments.words([argument])
        elif engine.kind == APPTAINER:
            yield "--nv"
        else:
            yield from (word for device in _devices(text) for word in ("--device", f"nvidia.com/gpu={device}"))


def _devices(text: str) -> "list[str]":
    """Return the GPUs that a value of docker's `--gpus` names: all, the first N, `device=0,1`."""
    count, (key, _, names) = text.strip("\"'"), text.strip("\"'").partition("=")
    if count == "all":
        return ["all"]
    if count.isdigit():
        return [str(number) for number in range(int(count))]
    if key == "device" and names:
        return names.split(",")
    message = f"-A gpus={text}: podman gives all GPUs, a number of them, or those that are named"
    raise EnvironmentBuildError(message, hint="write -A gpus=all, -A gpus=2 or -A gpus=device=0,1")


def _mount(mount: Mount) -> str:
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    return ",".join(_field(text) for text in (*fields, *(["readonly"] if mount.readonly else [])))


def _field(text: str) -> str:
    """Return a field as a line of CSV has it, which is how both engines read a mount."""
    if "\n" in text:
        message = f"a container cannot be given {text.partition('=')[2]!r}: its name has a line break"
        raise EnvironmentBuildError(message, hint="rename it")
    return '"' + text.replace('"', '""') + '"' if '"' in text or "," in text else text


def _apptainer(engine: Engine, wanted: Wanted, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield apptainer's own words: it runs as the user, on the host's network, among the host's processes."""
    given = arguments.names(wanted.arguments)
    yield from (engine.program, "exec", "--cleanenv")
    yield from ("--home", wanted.home) if "home" not in given else ()
    yield from ("--pwd", PROJECT) if "pwd" not in given else ()
    for mount in wanted.mounts:
        yield from ("--bind", _bind(mount))
    for volume in wanted.volumes:
        yield from ("--bind", volume)
    if wanted.gpus > 0 and "gpus" not in given:
        yield "--nv"
    yield from _given(engine, wanted)
    del environ


def _bind(mount: Mount) -> str:
    for place in (mount.source, mount.target):
        if ":" in place or "," in place:
            message = f"apptainer cannot be given {place}: it takes no colon and no comma in a path"
            raise EnvironmentBuildError(message, hint="rename it, or use podman or docker")
    return f"{mount.source}:{mount.target}" + (":ro" if mount.readonly else "")


def name_of(run: str, given: Optional[Sequence[str]]) -> str:
    """Return what the engine calls the container of a run: `mlrun-ID`, or what `-A name=` says."""
    return arguments.value(given or (), "name") or f"mlrun-{run}"
