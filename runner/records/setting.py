"""The groups of a record that say what ran: source, entry point, environment, machine, execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from runner.records.basics import Digest
from runner.worker.facts import Gpu, Submodule
from runner.worker.spec import Resources
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Code:
    """What source ran."""

    kind: str  # git, directory, zip, empty
    uri: str  # as it was asked for
    root: str  # where it was taken from
    snapshot: Digest  # of the manifest: each source file's mode, digest and path
    url: str | None = None
    commit: str | None = None
    tree: str | None = None
    branch: str | None = None
    describe: str | None = None
    subdirectory: str = ""
    on_remote: bool | None = None
    dirty: bool | None = None
    modified: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    patch: Digest | None = None  # the binary patch against the commit
    submodules: tuple[Submodule, ...] = ()
    lfs: tuple[str, ...] = ()
    files: int = 0
    bytes: int = 0
    not_stored: tuple[str, ...] = ()  # above the size cap: the digest is in the snapshot, the bytes are not kept


@dataclass(frozen=True)
class EntryPoint:
    """What was run of the project."""

    project: str
    name: str
    template: str  # the command as declared
    file: str | None = None  # the MLproject
    digest: Digest | None = None  # of that file
    command: str | None = None  # the text that the shell got
    argv: tuple[str, ...] = ()
    cwd: str | None = None  # URI
    strict_shell: bool = False


@dataclass(frozen=True)
class SpecFile:
    """A file that describes the environment."""

    path: str
    digest: Digest


@dataclass(frozen=True)
class Interpreter:
    """The Python that ran, or was ready to run."""

    path: str  # URI
    version: str
    implementation: str
    cache_tag: str
    abi: str
    build: str
    platform: str
    digest: Digest


@dataclass(frozen=True)
class Package:
    """An installed distribution; the digests are those of its archives that the lock allows."""

    name: str
    version: str
    digests: tuple[Digest, ...] = ()
    url: str | None = None


@dataclass(frozen=True)
class Container:
    """The image that the command ran in, and the engine that ran it."""

    engine: str  # "podman 4.3.1"
    id: Digest  # of the image's configuration, which names its layers; of the file, where it is one
    digests: tuple[str, ...] = ()  # NAME@sha256:... of its manifest, as registries know it
    platform: str = ""  # "linux/amd64"
    arguments: tuple[str, ...] = ()  # for the engine
    volumes: tuple[str, ...] = ()  # as the project names them
    variables: tuple[str, ...] = ()  # names that the project sets or copies


@dataclass(frozen=True)
class Environment:
    """What the command ran in."""

    kind: str  # virtualenv, conda, container, host
    source: str = ""  # the file that named it
    files: tuple[SpecFile, ...] = ()
    python: str | None = None  # as asked for
    requirements: tuple[str, ...] = ()
    image: str | None = None
    container: Container | None = None
    lock: Digest | None = None
    lock_origin: str = ""  # project, cache, resolved, pinned
    key: str | None = None
    installed: Digest | None = None  # of the installed files
    interpreter: Interpreter | None = None
    packages: tuple[Package, ...] = ()
    built_by: str = ""
    installed_by: str = ""
    reused: bool = False
    why: str = ""  # it was built, or reused
    seconds: float = 0.0  # that preparation took


@dataclass(frozen=True)
class Platform:
    """The machine that ran the command."""

    os: str
    kernel: str
    machine: str
    libc: str
    cpu: str
    cpu_features: tuple[str, ...] = ()
    cpus: int = 0
    memory: int | None = None  # bytes
    gpus: tuple[Gpu, ...] = ()
    container: str | None = None


@dataclass(frozen=True)
class Execution:
    """How it was carried out."""

    backend: str
    host: str  # that ran it, or was to
    launcher: str = "direct"
    job_id: str | None = None
    cluster: str = ""  # of the launcher, as are those up to `queued`
    partition: str = ""
    node: str = ""
    account: str = ""
    qos: str = ""
    queued: float | None = None  # seconds from the launch to the job's begin
    submitted_from: str = ""
    argv: tuple[str, ...] = ()  # of mlrun
    mode: str = "in-place"  # in-place, fresh
    environ: Mapping[str, str] = field(default_factory=dict)  # by an allow-list, and what the project declares
    secrets: tuple[str, ...] = ()  # names
    resources: Resources = field(default_factory=Resources)  # asked for
