"""What is to be run: a RunSpec holds no id, time, user or host, so equal digests mean the same run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import field
from typing import Optional, Union

from runner.worker.codec import decode, encode
from runner.worker.files import Json, canonical
from runner.worker.values import dataclass

SPEC_VERSION = 1


@dataclass(frozen=True)
class Parameter:
    """A named value given to an entry point."""

    name: str
    type: str
    raw: str  # the text the command gets, before quoting
    given: Union[str, tuple[str, ...], None] = None  # as the user typed it; several for a list
    default: Optional[str] = None  # the declared default as text
    source: str = "default"  # given, file, default, extra (undeclared, appended as --name value)
    words: Optional[tuple[str, ...]] = None  # a flag or a list: none or many words; None: `raw` is the one word
    input: Optional[str] = None  # a `path` parameter: the name of its Input


@dataclass(frozen=True)
class Input:
    """Data a run is known to need: declared in the MLproject, or the value of a `path` parameter."""

    name: str  # the declared path or glob, or the parameter's name
    path: str  # POSIX; relative to the project where it lies inside, else absolute; a glob where declared so
    parameter: Optional[str] = None
    sha256: Optional[str] = None  # pinned, on a re-run: what the bytes have to be


@dataclass(frozen=True)
class Resources:
    """What an entry point asks of a host; None means no wish."""

    cpus: Optional[int] = None
    memory: Optional[int] = None  # bytes
    gpus: Optional[int] = None
    time: Optional[float] = None  # seconds; the command is ended when they are over


@dataclass(frozen=True)
class Snapshot:
    """Exactly the source files a run executes, by the digest of their manifest, and where they are from."""

    manifest: str  # sha256 of the manifest object
    kind: str  # git, directory, zip, empty
    subdirectory: str = ""  # of the snapshot: where the project is; POSIX, "" for its root
    commit: Optional[str] = None
    tree: Optional[str] = None
    dirty: Optional[bool] = None
    url: Optional[str] = None  # without userinfo


@dataclass(frozen=True)
class SpecFile:
    """A file that describes an environment, by its digest; the path is relative to the project, POSIX."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Interpreter:
    """A Python interpreter's identity: two with equal fields (but the path) run the same bytecode."""

    path: str
    version: str  # "3.11.7"
    implementation: str  # cpython, pypy
    cache_tag: str  # sys.implementation.cache_tag
    abi: str  # SOABI, with t for a free-threaded build
    build: str  # platform.python_build() and compiler, joined
    platform: str  # sysconfig.get_platform()
    sha256: str  # of the executable file


@dataclass(frozen=True)
class EnvironmentSpec:
    """What the command runs in. The requirement lines hold no credentials."""

    kind: str  # virtualenv, conda, container, host
    source: str = (
        ""  # which file named it: python_env.yaml, requirements.txt, pyproject.toml, uv.lock, ...; "" for none
    )
    files: tuple[SpecFile, ...] = ()
    python: Optional[str] = None  # the version asked for, as text: "3.10", ">=3.9,<3.12"
    requirements: tuple[str, ...] = ()  # requirement lines and options, in their order; paths relative to the project
    build_requirements: tuple[str, ...] = ()  # installed before the others: build_dependencies
    manager: Optional[str] = None  # virtualenv or uv makes the environment; None: virtualenv where there is one
    channels: tuple[str, ...] = ()  # conda: addresses, without credentials
    channel_priority: Optional[str] = None  # conda: strict, flexible, disabled
    packages: tuple[str, ...] = ()  # conda: match specifications, as the solver reads them
    image: Optional[str] = None  # container
    volumes: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()  # NAME: copied from the caller; NAME=value
    arguments: tuple[str, ...] = ()  # for the container engine: a flag, or NAME=value
    build: bool = False  # the image is built from the project first
    lock: Optional[str] = None  # sha256 of the lock object (pylock.toml, PEP 751; an image's digests), once it is known
    interpreter: Optional[Interpreter] = None  # pinned, on a re-run


@dataclass(frozen=True)
class RunSpec:
    """A planned run: immutable, serialisable, the same on every host."""

    project: str
    entry_point: str
    parameters: tuple[Parameter, ...]
    command: str  # the template; `runner.worker.command.render` makes the text
    snapshot: Snapshot
    environment: EnvironmentSpec
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ()  # declared paths and globs, relative to the project
    metrics: tuple[str, ...] = ()  # the same, of files whose numbers are metrics: JSON, YAML, CSV
    resources: Resources = field(default_factory=Resources)
    environ: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()  # names only
    strict_shell: bool = False  # -e -o pipefail
    version: int = SPEC_VERSION

    @property
    def digest(self) -> str:
        """The sha256 of what decides a run: code, command, parameters, environment files, resources, environ.

        Git facts, the project's name and the lock stay out: the same bytes run the same, whatever they are called.
        """
        return hashlib.sha256(canonical(self._deciding())).hexdigest()

    @property
    def written(self) -> tuple[str, ...]:
        """What the command is declared to write: outputs, and files of metrics."""
        return (*self.outputs, *self.metrics)

    @property
    def pinned_digest(self) -> str:
        """As ``digest``, with the lock and the interpreter that were installed."""
        environment = self.environment
        deciding = {"spec": self._deciding(), "lock": environment.lock, "interpreter": encode(environment.interpreter)}
        return hashlib.sha256(canonical(deciding)).hexdigest()

    def to_json(self) -> Json:
        """Return the spec as JSON, which `schemas/run-spec.schema.json` describes."""
        return encode(self)

    @classmethod
    def from_json(cls, data: Json) -> RunSpec:
        """Return the spec a JSON value describes; FormatError names what does not fit."""
        return decode(cls, data, "spec.json")

    def _deciding(self) -> Json:
        environment = self.environment
        return {
            "manifest": self.snapshot.manifest,
            "subdirectory": self.snapshot.subdirectory,
            "command": self.command,
            "strict_shell": self.strict_shell,
            "parameters": [
                [p.name, p.raw, None if p.words is None else list(p.words), p.source == "extra"]
                for p in self.parameters
            ],
            "environment": {
                "kind": environment.kind,
                "files": {file.path: file.sha256 for file in environment.files},
                "python": environment.python,
                "requirements": list(environment.requirements),
                "image": environment.image,
                **_only(arguments=list(environment.arguments), build=environment.build),
            },
            "resources": encode(self.resources),
            "environ": dict(self.environ),
        }


def _only(**asked: Json) -> dict[str, Json]:
    """Return what was asked for: a digest is what it was before one could ask."""
    return {name: value for name, value in asked.items() if value}
