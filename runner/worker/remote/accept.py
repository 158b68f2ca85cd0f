"""Takes a run in: says what is lacking for it, lays it out where runs lie, and starts its worker, once."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Optional

from runner.errors import BackendError, FormatError, MlrunError, StoreError
from runner.worker.clock import now
from runner.worker.codec import decode
from runner.worker.facts import Claim, Placement, Request, SourceFacts
from runner.worker.files import Json, canonical, write_once
from runner.worker.manifest import decode_manifest
from runner.worker.objects import clone_or_copy
from runner.worker.processes import myself
from runner.worker.remote.inbox import Inbox, Place
from runner.worker.remote.kit import Tool, Unmet, choose
from runner.worker.remote.site import Site
from runner.worker.results import Failure
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.stat_cache import StatCache
from runner.worker.state import abandon
from runner.worker.tools import reap
from runner.worker.values import dataclass

_PATIENCE = 30.0  # seconds a worker may take to claim its run
_LINKED = 64 << 20  # bytes: larger inputs share their bytes with the store, which is read-only
_LEARNED = 8 << 20  # bytes: of smaller files the digest is found again as fast as it is looked up


@dataclass(frozen=True)
class Brought:
    """A file of an input: where it belongs below the input's own directory, and its bytes."""

    path: str
    sha256: str
    size: int
    mode: int


@dataclass(frozen=True)
class Parcel:
    """An input of a run: its files, and which of the paths below them stands for it."""

    name: str
    origin: str
    files: tuple[Brought, ...]


@dataclass(frozen=True)
class Thing:
    """Bytes that a run needs, by their digest."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Wheel:
    """A package's archive, for a host that reaches no index."""

    file: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Submission:
    """All that a run is made of, as the near end sends it; `placement` is completed here."""

    request: Request
    spec: RunSpec
    source: SourceFacts
    placement: Placement
    baggage: Optional[Mapping[str, Mapping[str, str]]] = None
    inputs: tuple[Parcel, ...] = ()
    objects: tuple[Thing, ...] = ()  # needed whatever else is there
    entries: Optional[tuple[Thing, ...]] = None  # of the snapshot; None: not said, ask for them
    manifest: Optional[Thing] = None
    tools: tuple[Tool, ...] = ()
    wheels: tuple[Wheel, ...] = ()


@dataclass(frozen=True)
class Lack:
    """What is to come before a run can start."""

    blobs: tuple[str, ...] = ()
    entries: bool = False  # the snapshot is new here, and its files have to be named
    uv: Optional[Unmet] = None  # none of those offered runs here


def read(body: bytes) -> Submission:
    """Return what a near end submits; FormatError where this worker is of another version."""
    try:
        return decode(Submission, json.loads(body), "the submission")
    except ValueError as error:
        message = f"the submission is no JSON: {error}"
        raise FormatError(message) from None


def lacking(asked: Submission, site: Site) -> Lack:
    """Return what is not here."""
    things = [*asked.objects, *(Thing(file.sha256, file.size) for parcel in asked.inputs for file in parcel.files)]
    things += [Thing(wheel.sha256, wheel.size) for wheel in asked.wheels]
    blobs = [thing.sha256 for thing in things if not site.objects.has(thing.sha256, thing.size)]
    kit = choose(asked.tools, site)
    blobs += [tool.sha256 for tool in kit.awaited]
    entries = False
    if asked.manifest is not None:
        there = site.objects.has(asked.manifest.sha256, asked.manifest.size)
        entries = asked.entries is None and not (there and _has_all(asked.manifest, site))
        blobs += [thing.sha256 for thing in asked.entries or () if not site.objects.has(thing.sha256, thing.size)]
        blobs += [] if entries or there else [asked.manifest.sha256]
    return Lack(tuple(dict.fromkeys(blobs)), entries, kit.unmet)


def _has_all(manifest: Thing, site: Site) -> bool:
    """Whether all is here that a snapshot names: who cleans a disk by the age of files may have taken some."""
    entries = decode_manifest(site.objects.read(manifest.sha256))
    return all(site.objects.has(sha256) for sha256 in {entry.sha256 for entry in entries})


def inbox(asked: Submission, lack: Lack, site: Site) -> Inbox:
    """Return what takes the lacking bytes in."""
    tools = {tool.sha256: tool for tool in asked.tools}
    places = {
        sha256: (Place(str(site.tool(sha256, tools[sha256].name)), 0o755),)
        if sha256 in tools
        else (Place(str(site.objects.path(sha256)), 0o444),)
        for sha256 in lack.blobs
    }
    return Inbox(site.objects.root / "tmp", places)


def accept(asked: Submission, site: Site) -> RunDirectory:
    """Lay a run out and start it; all it needs is here. Doing it again is safe: there is never a second worker."""
    run = site.run(asked.request.id)
    if not run.path.exists():
        _lay_out(asked, site, run)
    if not run.has(Claim):
        _launch(site, run)
    return run


def _lay_out(asked: Submission, site: Site, run: RunDirectory) -> None:
    aside = RunDirectory(site.home / "tmp" / f"new-{run.id}.{os.getpid()}")
    try:
        for directory in (site.home, site.home / "runs", aside.path):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for value in (asked.request, asked.spec, asked.source):
            aside.write(value)
        aside.write(_placement(asked, site, run, dict(_bring(asked, site, aside, run))))
        if asked.baggage is not None:
            baggage: Json = {key: dict(value) for key, value in asked.baggage.items()}
            write_once(aside.secrets, canonical(baggage))
        try:
            os.rename(aside.path, run.path)
        except OSError:
            if not run.path.exists():  # not another connection that did the same
                raise
    except OSError as error:
        message = f"cannot make a run in {site.home}: {error.strerror}"
        raise StoreError(message, hint="free some space there, or give the host another `home`") from error
    finally:
        shutil.rmtree(aside.path, ignore_errors=True)


def _placement(asked: Submission, site: Site, run: RunDirectory, inputs: Mapping[str, str]) -> Placement:
    from dataclasses import replace

    tools = {tool.name: str(site.tool(tool.sha256, tool.name)) for tool in choose(asked.tools, site).used}
    return replace(
        asked.placement,
        store=str(site.home),
        cache=str(site.cache),
        inputs=dict(inputs),
        uv=tools.get("uv"),
        mlrun=site.refusal(),
        wheels=str(run.brought / "wheels") if asked.wheels else None,
        pip=next((place for name, place in tools.items() if name.endswith(".whl")), None),
    )


def _bring(asked: Submission, site: Site, aside: RunDirectory, run: RunDirectory) -> Iterator[tuple[str, str]]:
    """Make the files of the inputs, and yield where each input will lie."""
    cache = StatCache(site.cache / "stat.sqlite")
    for number, parcel in enumerate(asked.inputs):
        for file in parcel.files:
            target = _inside(aside.brought / str(number), file.path)
            _make(site, file, target)
            if file.size >= _LEARNED:
                final = run.path / target.relative_to(aside.path)
                cache.learn(final, os.stat(target), file.sha256, since=time.time() + 1)  # nobody else writes to it
        yield parcel.name, str(_inside(run.brought / str(number), parcel.origin))
    for wheel in asked.wheels:
        target = _inside(aside.brought / "wheels", wheel.file)
        _make(site, Brought(wheel.file, wheel.sha256, wheel.size, 0o644), target)
    cache.save()


def _make(site: Site, file: Brought, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    origin = site.objects.path(file.sha256)
    if file.size >= _LINKED:
        try:
            os.link(origin, target)
        except OSError:
            pass
        else:
            return
    clone_or_copy(origin, target)
    target.chmod(file.mode & 0o777 | 0o600)


def _inside(directory: Path, path: str) -> Path:
    target = Path(os.path.normpath(directory / path))
    if directory != target and directory not in target.parents:
        message = f"the input's path {path!r} leaves its directory"
        raise MlrunError(message, hint="both ends have to be of the same version")
    return target


def _launch(site: Site, run: RunDirectory) -> None:
    """Start a worker and wait until it has claimed its run; one that goes without that ends the run."""
    try:
        pid = site.start(run)
    except OSError as error:
        message = f"no worker can be started: {error.strerror}"
        abandon(run, Failure(message, "too many processes, or too little memory; try again later"))
        raise BackendError(message) from error
    deadline = time.monotonic() + _PATIENCE
    pause = 0.001
    while not run.has(Claim) and time.monotonic() < deadline:
        reap()
        if not _is_there(pid) and not run.has(Claim):
            abandon(run, Failure("no worker could begin", _last_words(run)))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _last_words(run: RunDirectory) -> str:
    try:
        lines = run.worker_log.read_text("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")[:300]


def bar(run: RunDirectory) -> None:
    """See to it that a run that was given up cannot be started any more."""
    run.write(Claim(myself(), now()))
