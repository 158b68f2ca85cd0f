"""What a run needs on another machine: its plan, its snapshot, its inputs, its tools; and the bytes of them here."""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.backends.backend import Launch
from runner.backends.host import Host
from runner.backends.ssh.laid_out import describing, laid_out
from runner.backends.ssh.seed import fetched_uvs, pip_wheel
from runner.errors import BackendError, EnvironmentBuildError
from runner.worker.environment.locks import sent
from runner.worker.environment.site import Site
from runner.worker.environment.uv import INSTALL
from runner.worker.facts import Placement, Request, SourceFacts
from runner.worker.globs import expand
from runner.worker.manifest import Entry, decode_manifest
from runner.worker.remote.accept import Brought, Parcel, Submission, Thing, Wheel
from runner.worker.remote.blobs import Blob
from runner.worker.remote.kit import Tool, Unmet, this_machine
from runner.worker.rundir import RunDirectory
from runner.worker.spec import Input, RunSpec
from runner.worker.stat_cache import StatCache

if TYPE_CHECKING:
    from runner.backends.ssh.packages import Packages
    from runner.store.store import Store

_FEW = 500  # files of a snapshot that are named at once, before it is known whether they are asked for
_USES_UV = ("virtualenv", "conda")


class Cargo:
    """A run as it is submitted, and where the bytes lie that it names."""

    def __init__(self, run: RunDirectory, store: Store, launch: Launch, host: Host) -> None:
        """Find out what the run needs; BackendError where a file of it cannot be read."""
        self._store = store
        self._blobs: dict[str, Blob] = {}
        self._known: set[str] = set()  # directories of which the digests are at hand
        self._digests = StatCache(store.cache / "stat.sqlite")
        self._titles: dict[str, str] = {}
        self._uv = launch.uv
        self._spec, self._source = run.read(RunSpec), run.read(SourceFacts)
        self._entries = decode_manifest(store.objects.read(self._spec.snapshot.manifest))
        manifest = self._spec.snapshot.manifest
        locks = self._locks(run, launch)
        self.submission = Submission(
            request=run.read(Request),
            spec=self._spec,
            source=self._source,
            placement=replace(_placement(launch, host), locks=locks),
            baggage=_baggage(launch),
            inputs=tuple(self._parcels(launch)),
            objects=tuple(self._object(sha256) for sha256 in {*self._needed(), *locks.values()}),
            manifest=self._object(manifest),
            tools=tuple(self._tools(launch)),
        )
        if len(self._entries) <= _FEW:
            self.name_entries()
        self._digests.save()

    def name_entries(self) -> None:
        """Say in the submission which files the snapshot has."""
        self.submission = replace(self.submission, entries=tuple(self._things()))

    def add_packages(self, packages: Packages) -> None:
        """Take along a lock and its wheels, for a machine that reaches no index."""
        wheels = []
        for path in packages.wheels:
            self._know(str(path))
            thing = self._add(self._digests.digest(path), path.stat().st_size, str(path))
            wheels.append(Wheel(path.name, thing.sha256, thing.size))
        lock = self._object(packages.lock)
        self.submission = replace(
            self.submission,
            placement=replace(self.submission.placement, locks={packages.slug: packages.lock}),
            objects=(*(one for one in self.submission.objects if one != lock), lock),
            wheels=tuple(wheels),
        )
        self._digests.save()

    def add_uv(self, unmet: Unmet, host: Host) -> None:
        """Take along a uv that runs on a machine; EnvironmentBuildError where there is none, or none runs there."""
        from runner.backends.ssh.foreign import fetch  # seldom needed, and it needs much

        tools, family = self.submission.tools, unmet.machine.family
        if any(tool.machine == family for tool in tools):
            message = f"uv for {family} does not run on {host.name}: {unmet.reason}"
            raise EnvironmentBuildError(message, hint="is its cache on a disk that programs may not be run from?")
        assert self._uv is not None
        try:
            fetch(self._uv, tools[0].sha256, unmet.machine, self._store.cache)
        except EnvironmentBuildError as error:
            lacks = f"{host.name} has no uv that runs there{unmet.reason and f' ({unmet.reason})'}"
            hint = f"let this machine reach an index that has it, or install uv there: {INSTALL}"
            raise EnvironmentBuildError(f"{lacks}, and {error.message}", hint=hint) from error
        self.submission = replace(self.submission, tools=(*tools, *self._fetched(tools[0].sha256, family)))
        self._digests.save()

    def title(self, sha256: str) -> str:
        """Return what bytes are worth a line by themselves, as a uv that is not the one of here; "" for others."""
        return self._titles.get(sha256, "")

    def blob(self, sha256: str, offset: int) -> Blob:
        """Return the bytes that a machine asks for, from an offset on."""
        if sha256 not in self._blobs:
            message = f"{sha256[:12]} is asked for, and this run does not need it"
            raise BackendError(message, hint="both ends have to be of the same version")
        return replace(self._blobs[sha256], offset=offset)

    def _needed(self) -> Iterator[str]:
        if self._spec.environment.lock is not None:
            yield self._spec.environment.lock

    def _locks(self, run: RunDirectory, launch: Launch) -> dict[str, str]:
        """Return the locks that earlier runs have left here for these requirements."""
        kind, pinned = self._spec.environment.kind, self._spec.environment.lock
        if kind not in _USES_UV or pinned is not None or launch.upgrade:
            return {}
        from runner.worker.environment.conda.locking import question
        from runner.worker.environment.locks.locking import common

        place, objects = Placement(str(self._store.root), str(self._store.cache)), self._store.objects
        with laid_out(self._spec, describing(self._spec, self._entries), objects) as project:
            site = Site(self._spec, place, objects, project, launch.say, run.scratch, launch.installer)
            with contextlib.suppress(FileNotFoundError):  # one outside of the snapshot: the machine there will miss it
                return sent.known(site, question(site) if kind == "conda" else common(site))
        return {}

    def _object(self, sha256: str) -> Thing:
        path = self._store.objects.path(sha256)
        return self._add(sha256, path.stat().st_size, str(path))

    def _add(self, sha256: str, size: int, path: str) -> Thing:
        self._blobs[sha256] = Blob(sha256, size, path)
        return Thing(sha256, size)

    def _things(self) -> Iterator[Thing]:
        large = {os.fsencode(path) for path in self._source.not_stored}
        for entry in self._entries:
            if entry.path in large and not self._store.objects.has(entry.sha256):
                yield self._large(entry)
            else:
                yield self._object(entry.sha256)

    def _large(self, entry: Entry) -> Thing:
        """A file that was too large for the store is read from where the snapshot was taken."""
        path = os.path.join(self._source.root, os.fsdecode(entry.path))
        try:
            status = os.stat(path)
            same = self._digests.digest(path, status) == entry.sha256
        except OSError as error:
            message = f"{path} was too large to be stored, and cannot be read any more: {error.strerror}"
            raise BackendError(message, hint="bring it back, or raise --max-file-size") from error
        if not same:
            message = f"{path} was too large to be stored, and has changed since"
            raise BackendError(message, hint="run again")
        return self._add(entry.sha256, status.st_size, path)

    def _parcels(self, launch: Launch) -> Iterator[Parcel]:
        named = {each.name: each for each in self._spec.inputs}
        for name, place in launch.inputs.items():
            each = named.get(name) or Input(name, name)
            yield self._relative(each, place) if not posixpath.isabs(each.path) else self._absolute(each, place)

    def _relative(self, each: Input, place: str) -> Parcel:
        """An input inside the project: a file, a directory or what a glob names, by its paths in the project."""
        clean = os.path.normpath(each.path)
        base = place.removesuffix(each.path).rstrip("/") if place.endswith(f"/{each.path}") else ""
        if base:
            files = [(name, os.path.join(base, name)) for name in _files(base, each.path)]
        elif os.path.isdir(place):
            files = [(f"{clean}/{name}", os.path.join(place, name)) for name in _files(place, ".")]
        else:
            files = [(clean, place)]
        return Parcel(each.name, each.path, tuple(self._brought(*file) for file in files if _has_bytes(file[1], place)))

    def _absolute(self, each: Input, place: str) -> Parcel:
        name = os.path.basename(os.path.normpath(place))
        if os.path.isdir(place):
            inside = [(f"{name}/{path}", os.path.join(place, path)) for path in _files(place, ".")]
            files = tuple(self._brought(*file) for file in inside if _has_bytes(file[1], place))
            return Parcel(each.name, name, files)
        return Parcel(each.name, name, (self._brought(name, place),))

    def _brought(self, path: str, place: str) -> Brought:
        try:
            status = os.stat(place)
            self._know(place)
            sha256 = self._digests.digest(place, status)
        except OSError as error:
            message = f"the input {place} cannot be read: {error.strerror}"
            raise BackendError(message, hint="inputs are sent to the host before the run begins") from error
        self._add(sha256, status.st_size, place)
        return Brought(path, sha256, status.st_size, status.st_mode & 0o777)

    def _know(self, place: str) -> None:
        directory = os.path.dirname(place)
        if directory not in self._known:
            self._known.add(directory)
            self._digests.preload(Path(directory))

    def _tools(self, launch: Launch) -> Iterator[Tool]:
        if launch.uv is None or self._spec.environment.kind not in _USES_UV:
            return
        own = self._tool("uv", launch.uv, this_machine().kind)
        yield own
        yield from self._fetched(own.sha256)
        pip = pip_wheel()
        if pip is not None:
            yield self._tool(pip.name, str(pip), "")

    def _fetched(self, own: str, wanted: str = "") -> Iterator[Tool]:
        """Yield the uvs that stand in for the one of here, of one family of machines or of all."""
        for version, family, path in fetched_uvs(self._store.cache, own):
            if wanted in ("", family):
                tool = self._tool("uv", str(path), family)
                self._titles[tool.sha256] = f"uv {version} for {family}"
                yield tool

    def _tool(self, name: str, path: str, machine: str) -> Tool:
        self._know(path)
        status = os.stat(path)
        thing = self._add(self._digests.digest(path, status), status.st_size, path)
        return Tool(name, thing.sha256, thing.size, machine)


def _placement(launch: Launch, host: Host) -> Placement:
    """Return what the near end knows of how a run is to be carried out; the worker there adds its own places."""
    return replace(
        launch.place(),
        launcher=host.launcher,
        launcher_options=host.launcher_options,
        setup=host.setup,
        container_engine=host.container_engine,
    )


def _baggage(launch: Launch) -> Mapping[str, Mapping[str, str]] | None:
    if not (launch.secrets or launch.installer):
        return None
    return {"secrets": dict(launch.secrets), "installer": dict(launch.installer)}


def _files(root: str, pattern: str) -> tuple[str, ...]:
    try:
        return expand(Path(root), pattern, follow=True)
    except OSError as error:
        message = f"the directory {error.filename} cannot be read: {error.strerror}"
        raise BackendError(message, hint="inputs are sent to the host before the run begins") from error


def _has_bytes(path: str, place: str) -> bool:
    """Whether a path of an input is worth bringing: no symlink to nowhere, and, below the input, no pipe or socket."""
    return os.path.isfile(path) or (path == place and not os.path.islink(path))
