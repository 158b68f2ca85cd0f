"""A host: a machine where runs can be carried out, how it is reached, and how processes are started on it."""

from __future__ import annotations

import re

from runner.errors import UsageError
from runner.worker.slurm.options import problem as problem_of_options
from runner.worker.values import dataclass

LAUNCHERS = ("direct", "slurm")
ENGINES = ("docker", "podman", "apptainer")
HERE = "local"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_BRACKETS = re.compile(r"\[[0-9A-Fa-f:.]+(?:%\w+)?\]")
_WITH_PORT = re.compile(r"((?:[^@/]*@)?(?:[^@/:]+|\[[^\]]+\])):(\d+)")
_PORTS = 65536


@dataclass(frozen=True)
class Host:
    """A machine by the name that `--on` knows it by."""

    name: str
    address: str = HERE  # [user@]machine as `ssh` takes it, an alias of its configuration too; `local`: this machine
    port: int | None = None
    home: str = ""  # what $MLRUN_HOME is here; "": ~/.local/share/mlrun of the user there
    cache: str = ""  # what $MLRUN_CACHE is here; "": ~/.cache/mlrun there
    python: str = ""  # the Python that the worker runs with; "": the first on PATH that is new enough
    setup: str = ""  # lines of bash before each run: `module load cuda`
    launcher: str = "direct"
    partition: str = ""  # of Slurm, as are the next four
    account: str = ""
    qos: str = ""
    constraint: str = ""
    options: tuple[str, ...] = ()  # others of sbatch, by their long names: "gres=gpu:a100:1", "exclusive"
    container_engine: str = ""
    ship_packages: bool = False  # packages are downloaded here and sent: the host reaches no index
    fetch: bool = True  # outputs come back by themselves

    def __post_init__(self) -> None:
        """Refuse what no host can be."""
        wrong = problem(self)
        if wrong is not None:
            raise UsageError(*wrong[:1], hint=wrong[1])

    @property
    def is_here(self) -> bool:
        """Whether it is this machine."""
        return self.address == HERE

    @property
    def destination(self) -> str:
        """The address as `ssh` takes it: without the brackets that an IPv6 address has elsewhere."""
        user, at, machine = self.address.rpartition("@")
        bare = machine[1:-1] if _BRACKETS.fullmatch(machine) else machine
        return f"{user}{at}{bare}"

    @property
    def launcher_options(self) -> dict[str, str]:
        """What the launcher is told: the options that are set."""
        every = {key: getattr(self, key) for key in ("partition", "account", "qos", "constraint")}
        others = {name: value for name, _, value in (option.partition("=") for option in self.options)}
        return {**{key: value for key, value in every.items() if value}, **others}


def problem(host: Host) -> tuple[str, str] | None:
    """Return what is wrong with a host, and what to do; None where nothing is."""
    if not _NAME.fullmatch(host.name) or (host.name == HERE and not host.is_here):
        return (
            f"a host cannot be named {host.name!r}",
            "use letters, digits, dots, dashes and underscores, but not `local`",
        )
    return _wrong_address(host) or _wrong_choice(host)


def is_address(text: str) -> bool:
    """Whether a text that is no host's name says by itself where to go: user@machine."""
    return "@" in text


def with_port(address: str) -> tuple[str, int] | None:
    """Return an address and the port behind it, as in user@machine:2222; None where there is none."""
    found = _WITH_PORT.fullmatch(address)
    return None if found is None else (found[1], int(found[2]))


def _wrong_address(host: Host) -> tuple[str, str] | None:
    address = host.address
    machine = address.rpartition("@")[2]
    if address.startswith("-") or machine.startswith("-") or not machine or re.search(r"[\s\x00-\x1f]", address):
        return f"{address!r} is no address of a machine", "write user@machine, or a name of your ~/.ssh/config"
    if with_port(address) is not None:
        return f"{address!r} has a port in it", "it stands apart: `port` in hosts.toml, `--port` of `mlrun host add`"
    if host.port is not None and not 0 < host.port < _PORTS:
        return f"{host.port} is no port", "ports are numbers from 1 to 65535; leave it out for ssh's own choice"
    for key in ("home", "cache"):
        place = getattr(host, key)
        if place and not place.startswith(("/", "~/")):
            return f"the {key} {place!r} is not absolute", "begin it with / or ~/, as it is on that machine"
    return None


def _wrong_choice(host: Host) -> tuple[str, str] | None:
    if host.launcher not in LAUNCHERS:
        return f"there is no launcher {host.launcher!r}", f"known are {', '.join(LAUNCHERS)}"
    if host.container_engine and host.container_engine not in ENGINES:
        return f"there is no container engine {host.container_engine!r}", f"known are {', '.join(ENGINES)}"
    if host.launcher != "slurm" and host.launcher_options:
        return f"{', '.join(host.launcher_options)}: only Slurm knows these", "add `--launcher slurm`"
    return problem_of_options(host.launcher_options)
