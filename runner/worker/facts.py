"""The facts a run leaves in its directory, one frozen value per JSON file; the record is composed from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Optional

from runner.worker.spec import Interpreter, RunSpec
from runner.worker.values import dataclass

VERSION = 1


@dataclass(frozen=True)
class Gap:
    """A fact that could not be had, and why."""

    field: str
    reason: str


@dataclass(frozen=True)
class Actor:
    """Who asked for the run, and how that is known."""

    user: str
    name: Optional[str] = None
    email: Optional[str] = None
    basis: str = "observed"
    agent: Optional[str] = None  # the CI or agent that launched it


@dataclass(frozen=True)
class Identity:
    """A process that can be told from any other, also after its pid is used again, and after a reboot."""

    pid: int
    started: str  # the kernel's start time of the process, in its own unit
    boot: str
    host: str


@dataclass(frozen=True)
class Request:
    """request.json: who asked for the run, when, why and with what words."""

    id: str
    created: str
    actor: Actor
    uri: str  # as given, without userinfo
    argv: tuple[str, ...]
    cwd: str
    tool: str  # "mlproject-runner 0.1.0"
    name: str = ""
    why: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    experiment: Optional[str] = None
    experiment_id: Optional[str] = None
    tracking_uri: Optional[str] = None  # of the team's MLflow server that it is forwarded to; without userinfo
    backend: str = "local"
    submitted_from: str = ""  # host name
    submitter: Optional[Identity] = None  # the process that makes and launches the run
    parent: Optional[str] = None
    rerun_of: Optional[str] = None
    reused: Optional[str] = None  # the run whose results this one took over; nothing was executed
    mode: str = "in-place"  # in-place, fresh
    gaps: tuple[Gap, ...] = ()
    version: int = VERSION


@dataclass(frozen=True)
class Submodule:
    """A submodule at its commit."""

    path: str
    commit: str
    url: Optional[str] = None


@dataclass(frozen=True)
class SourceFacts:
    """source.json: what git, or the file system, says of the source at the time of the snapshot."""

    kind: str
    root: str  # absolute path or URI it was taken from, without userinfo
    subdirectory: str = ""
    url: Optional[str] = None
    commit: Optional[str] = None
    tree: Optional[str] = None
    branch: Optional[str] = None
    describe: Optional[str] = None
    on_remote: Optional[bool] = None
    dirty: Optional[bool] = None
    modified: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    patch: Optional[str] = None  # sha256 of the binary patch object against HEAD
    submodules: tuple[Submodule, ...] = ()
    lfs: tuple[str, ...] = ()
    not_stored: tuple[str, ...] = ()  # above the size cap: recorded by digest, bytes not kept
    files: int = 0
    bytes: int = 0
    project_file: Optional[str] = None  # name of the MLproject
    project_file_sha256: Optional[str] = None
    gaps: tuple[Gap, ...] = ()
    version: int = VERSION


@dataclass(frozen=True)
class Placement:
    """placement.json: where on this host the run works, and with which tools. Facts of the host, not of the run."""

    store: str  # MLRUN_HOME on this host
    cache: str  # MLRUN_CACHE on this host
    root: Optional[str] = None  # in place: the directory the snapshot was taken from; None: a fresh work/
    inputs: Mapping[str, str] = field(default_factory=dict)  # Input.name -> absolute path on this host
    directories: tuple[str, ...] = ()  # relative to the project: made in a fresh work/, where the snapshot has none
    uv: Optional[str] = None  # path of the uv executable
    python: Optional[str] = None  # an interpreter that can import virtualenv
    mlrun: Optional[str] = None  # directory that holds the mlrun command, for nested runs; None on a bare host
    upgrade: bool = False  # resolve anew, whatever lock is known
    upgrade_packages: tuple[str, ...] = ()  # these alone, and keep the others as the known lock has them
    offline: bool = False
    keep_work: bool = False
    keep_outputs: bool = False  # store undeclared outputs too
    trace: bool = True  # note which files the command's Pythons open
    launcher: str = "direct"  # direct, slurm: how the command's process is started on this host
    launcher_options: Mapping[str, str] = field(default_factory=dict)  # the launcher's own: partition, account, qos
    setup: str = ""  # lines of bash from the host's configuration, run before anything is prepared
    container_engine: str = ""  # docker, podman or apptainer; "": whichever is there
    locks: Mapping[str, str] = field(default_factory=dict)  # "3.11 linux-x86_64" -> lock object; where none is known
    wheels: Optional[str] = None  # directory of the archives of such a lock, for a host that reaches no index
    lenient: bool = False  # a re-run on another machine: a Python of the recorded series will do, and is said as a gap
    pip: Optional[str] = None  # a wheel of pip, to seed environments with where virtualenv is not
    version: int = VERSION


@dataclass(frozen=True)
class Claim:
    """claim.json: the worker that carries this run out; there is never a second one."""

    worker: Identity
    at: str
    version: int = VERSION


@dataclass(frozen=True)
class Launching:
    """launching.json: a launcher is about to be given the run; and how it is asked afterwards, from any shell."""

    launcher: str  # slurm
    at: str
    cluster: str  # its name for itself, by which another one is told apart
    programs: str = ""  # directory of its commands; "": on PATH
    configuration: str = ""  # what SLURM_CONF was
    route: str = ""  # what `-M` has to be, where the job goes to another cluster than the host's own
    version: int = VERSION


@dataclass(frozen=True)
class Launched:
    """launch.json: the job that a launcher has made of the run; from then on the worker that prepared it is gone."""

    launcher: str
    job: str
    at: str
    cluster: str = ""
    partition: str = ""  # as asked for
    version: int = VERSION


@dataclass(frozen=True)
class Package:
    """An installed distribution, with the sha256 digests its lock names for it."""

    name: str
    version: str
    sha256: tuple[str, ...] = ()
    url: Optional[str] = None


@dataclass(frozen=True)
class Container:
    """The image a command ran in, by its digests, and the engine that ran it."""

    engine: str  # "podman 4.3.1"
    program: str  # the engine's executable on this host
    image: str  # as asked for
    id: str  # sha256 of the image's configuration, which names its layers; of the file, where it is one
    digests: tuple[str, ...] = ()  # NAME@sha256:... of its manifest, as registries know it
    platform: str = ""  # "linux/amd64"
    place: str = ""  # what the engine calls exactly this image: its id, or the file it is
    entrypoint: tuple[str, ...] = ()  # the image's own


@dataclass(frozen=True)
class InstalledEnvironment:
    """environment.json: the environment the command ran in, as found on the host."""

    kind: str
    prefix: str  # directory of the environment; "" for the host's own
    bin: str  # directory to put first on PATH; "" for none
    interpreter: Optional[Interpreter] = None
    key: Optional[str] = None
    lock: Optional[str] = None  # sha256 of the lock object
    lock_origin: str = ""  # project, cache, resolved, pinned
    packages: tuple[Package, ...] = ()
    installed_digest: Optional[str] = None
    built_by: str = ""  # "virtualenv 21.15.8", "uv venv 0.13.9"
    installed_by: str = ""  # "uv 0.13.9"
    reused: bool = False
    why: str = ""  # why it was built, or reused
    seconds: float = 0.0  # that preparation took
    variables: Mapping[str, str] = field(default_factory=dict)  # to set for the command: VIRTUAL_ENV, ...
    container: Optional[Container] = None
    gaps: tuple[Gap, ...] = ()
    version: int = VERSION

    def pin(self, spec: RunSpec) -> RunSpec:
        """Return a spec bound to the packages and the interpreter that were installed for it."""
        return replace(spec, environment=replace(spec.environment, lock=self.lock, interpreter=self.interpreter))


@dataclass(frozen=True)
class Gpu:
    """An accelerator, as its driver names it."""

    model: str
    driver: str = ""
    memory: Optional[int] = None  # bytes


@dataclass(frozen=True)
class HostFacts:
    """The machine a run was on."""

    hostname: str
    os: str  # "Linux 6.1.0 (Debian GNU/Linux 12)"
    kernel: str
    machine: str  # x86_64
    libc: str
    cpu_model: str
    cpu_features: tuple[str, ...] = ()
    cpus: int = 0
    memory: Optional[int] = None  # bytes
    gpus: tuple[Gpu, ...] = ()
    container: Optional[str] = None
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True)
class Allocation:
    """What a launcher gave a run, as it says on the node."""

    job: str
    node: str  # by the launcher's name for it
    cluster: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    cpus: Optional[int] = None
    gpus: str = ""  # the devices' numbers
    queued: Optional[float] = None  # seconds from its launch to its begin


@dataclass(frozen=True)
class Start:
    """start.json: the moment the command began; linking it is the right to begin."""

    command: str  # rendered
    argv: tuple[str, ...]
    cwd: str
    child: Identity  # also the leader of the command's process group
    worker: Identity
    at: str
    host: HostFacts
    environ: Mapping[str, str] = field(default_factory=dict)  # the allow-listed variables as the child has them
    allocation: Optional[Allocation] = None  # by a launcher
    version: int = VERSION


@dataclass(frozen=True)
class Cancellation:
    """cancel.json: somebody asked for the run to end."""

    at: str
    by: str
    signal: str = "TERM"  # INT after Ctrl-C
    version: int = VERSION
