"""Makes all ready for a command: its directory, its environment, its inputs, its variables."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from runner.errors import StoreError
from runner.worker.clock import now, seconds
from runner.worker.command import render, shell_argv
from runner.worker.environment.cache.shelf import hold
from runner.worker.environment.cache.slot import Use
from runner.worker.environment.cache.waiting import await_turn
from runner.worker.execution import baggage, neighbours, opened, surroundings
from runner.worker.execution.declared import reach
from runner.worker.execution.digests import Digests
from runner.worker.execution.inputs import Sight, hash_declared, observe
from runner.worker.execution.outputs import Before
from runner.worker.execution.progress import Say
from runner.worker.execution.scan import SKIPPED, Listing, bare, scan
from runner.worker.execution.workplace import Workplace, set_up
from runner.worker.facts import Allocation, InstalledEnvironment, Placement, Request
from runner.worker.globs import matches
from runner.worker.objects import Objects
from runner.worker.results import FileFact, Files
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.values import dataclass

if TYPE_CHECKING:
    from runner.worker.execution.enclosure import Enclosure

_RECENT = 300.0  # seconds before the request: source touched later may have been edited after the snapshot


@dataclass(frozen=True)
class Job:
    """A run as it was planned and placed on this host."""

    run: RunDirectory
    spec: RunSpec
    placement: Placement
    say: Say

    @cached_property
    def objects(self) -> Objects:
        """The content store of this host."""
        return Objects(Path(self.placement.store) / "objects")

    @cached_property
    def cache(self) -> Path:
        """What may be deleted at any time."""
        return Path(self.placement.cache)

    @cached_property
    def skip(self) -> frozenset[str]:
        """Directories that are mlrun's own, wherever a project may have them."""
        return frozenset(os.path.realpath(path) for path in (self.placement.store, self.placement.cache))


@dataclass(frozen=True)
class Prepared:
    """All that a command needs."""

    workplace: Workplace
    installed: InstalledEnvironment
    command: str
    argv: tuple[str, ...]
    environ: surroundings.Environ
    sights: tuple[Sight, ...]  # the declared inputs
    before: Before
    digests: Digests
    enclosure: Optional[Enclosure] = None  # of a command in a container
    allocation: Optional[Allocation] = None  # by a launcher
    traced: bool = False  # the command's Pythons note what they open
    hold: Optional[int] = None  # a descriptor: while it is open, here or in the command, nobody removes the environment


def prepare(job: Job, stack: ExitStack) -> Prepared:
    """Prepare a run; MlrunError says in one line why it cannot be. Leaves environment.json and inputs.json.

    The environment is held until ``stack`` is closed.
    """
    luggage = baggage.unpack(job.run)
    baggage.check(luggage, job.spec)
    workplace = set_up(job.run, job.spec, job.placement, job.objects, job.say)
    installed = _install(job, workplace, luggage.installer)
    return get_ready(job, workplace, installed, luggage.secrets, stack)


def prepare_for_later(job: Job) -> None:
    """Do what can be done where the command will not run, and needs the network; leaves environment.json."""
    luggage = baggage.unpack_for_later(job.run)
    baggage.check(luggage, job.spec)
    workplace = set_up(job.run, job.spec, job.placement, job.objects, job.say)
    await_turn(_install(job, workplace, luggage.installer), job.run)
    render(job.spec.command, job.spec.parameters, workplace.places)
    if any(each.sha256 is not None for each in job.spec.inputs):  # a wrong one is said now, and not after the queue
        digests = Digests(job.cache)
        hash_declared(job.spec.inputs, workplace, digests, job.say)
        digests.save()


def get_ready(
    job: Job, workplace: Workplace, installed: InstalledEnvironment, secrets: Mapping[str, str], stack: ExitStack
) -> Prepared:
    """Do what is left before the command, on the machine that runs it; leaves inputs.json."""
    # From now on: to hash what is read may take hours.
    descriptor = stack.enter_context(hold(installed, Use(job.run.id, job.spec.project, now())))
    command = render(job.spec.command, job.spec.parameters, workplace.places)
    digests = Digests(job.cache)
    sights = hash_declared(job.spec.inputs, workplace, digests, job.say)
    for sight in sights:
        if sight.listing:  # so that a re-run can say which of a directory's files are not what they were
            job.objects.add(sight.listing)
    before, observed = _look(job, workplace, sights, digests)
    facts = (*(sight.fact for sight in sights), *observed.files)
    unseen = (gap for sight in sights for gap in sight.gaps)
    job.run.write_files(
        job.run.inputs, Files(facts, (*unseen, *observed.gaps), before.ambiguous, bare(before.listing, before.source))
    )
    if not workplace.fresh:
        neighbours.enter(job.cache, workplace.project, job.run)
    environ = surroundings.surround(job.run, job.spec, installed, secrets, job.placement.mlrun)
    traced = job.placement.trace and opened.begin(job.run, workplace, installed, environ)
    argv, enclosure = shell_argv(command, job.spec.strict_shell), None
    if installed.container is not None:
        from runner.worker.execution.enclosure import enclose

        enclosure = enclose(job.run, job.spec, installed.container, workplace, command, environ)
        argv = enclosure.argv
    return Prepared(
        workplace, installed, command, argv, environ, sights, before, digests, enclosure, traced=traced, hold=descriptor
    )


def _install(job: Job, workplace: Workplace, credentials: Mapping[str, str]) -> InstalledEnvironment:
    from runner.worker.environment.prepare import prepare as prepare_environment

    installed = prepare_environment(
        job.spec,
        job.placement,
        job.objects,
        workplace.project,
        job.say,
        scratch=job.run.scratch,
        installer=credentials,
    )
    _expect_on_path(installed.bin)
    if installed.container is not None:
        from runner.worker.execution.enclosure import variables_of

        installed = replace(
            installed, variables={**installed.variables, **variables_of(job.run, job.spec, installed.container)}
        )
    job.run.write(installed)
    return installed


def _expect_on_path(directory: str) -> None:
    """Refuse an environment that PATH cannot name: the command would get the host's own programs, without a word."""
    if os.pathsep in directory or "\n" in directory:
        message = f"the environment lies in {directory!r}, and no PATH can name one with a colon or line break"
        raise StoreError(message, hint="point MLRUN_CACHE at another directory; for one with `-e .` MLRUN_HOME, too")


def _look(job: Job, workplace: Workplace, sights: tuple[Sight, ...], digests: Digests) -> tuple[Before, Files]:
    """Look at the directory as it is before the command begins."""
    listing = look(job, workplace)
    source = _source(workplace)
    facts = tuple(sight.fact for sight in sights)
    named = {fact.path for fact in facts}
    if workplace.fresh:  # what the run that is repeated had lying there was brought along, and counts as it did then
        brought = {path: status for path, status in listing.files.items() if path in job.placement.inputs}
        observed = observe(Listing(brought), source, str(workplace.project), (job.spec.written, named), digests)
        return Before(listing, source, _digests_of((*facts, *observed.files))), observed
    observed = observe(listing, source, str(workplace.project), (job.spec.written, named), digests)
    stale = [path for path in listing.written if path not in source and any(matches(p, path) for p in job.spec.written)]
    known = digests.all_known(str(workplace.project), {path: listing.written[path] for path in stale})
    known.update(_digests_of((*facts, *observed.files)))
    return Before(listing, source, known, _edited(job, workplace, listing, source, digests)), observed


def look(job: Job, workplace: Workplace) -> Listing:
    """Return what the run's directory holds now: the project's, or all of a fresh one; relative to the project."""
    project = os.path.realpath(workplace.project)
    listing = _scan_fresh(workplace) if workplace.fresh else scan(project, job.skip)
    return reach(project, listing, job.spec.written, job.skip)


def _scan_fresh(workplace: Workplace) -> Listing:
    listing = scan(str(workplace.root))
    if workplace.project == workplace.root:
        return listing
    inside = os.path.relpath(workplace.project, workplace.root)
    return replace(
        listing,
        files={posixpath.relpath(path, inside): file for path, file in listing.files.items()},
        directories=tuple(path[len(inside) + 1 :] for path in listing.directories if path.startswith(f"{inside}/")),
        skipped=tuple(posixpath.relpath(path, inside) for path in listing.skipped),
    )


def _source(workplace: Workplace) -> dict[str, str]:
    """Return the snapshot's files and their digests, relative to the project; in place, only those in it."""
    inside = os.path.relpath(workplace.project, workplace.root)
    if inside == ".":
        return {os.fsdecode(entry.path): entry.sha256 for entry in workplace.entries}
    paths = {posixpath.relpath(os.fsdecode(entry.path), inside): entry.sha256 for entry in workplace.entries}
    return {path: sha256 for path, sha256 in paths.items() if workplace.fresh or not path.startswith("../")}


def _digests_of(facts: tuple[FileFact, ...]) -> dict[str, str]:
    return {fact.path: fact.sha256 for fact in facts if fact.sha256 is not None}


def _edited(
    job: Job, workplace: Workplace, listing: Listing, source: Mapping[str, str], digests: Digests
) -> tuple[str, ...]:
    """Return the source files that are not what the snapshot says: edited between the snapshot and now.

    Only files touched of late are read: nothing else can have changed.
    """
    request = job.run.find(Request)
    since = 0.0 if request is None else seconds(request.created) - _RECENT
    gone = [path for path in source if path not in listing.files]
    recent = {
        path: status
        for path, status in listing.files.items()
        if path in source and max(status.st_mtime, status.st_ctime) > since
    }
    root = str(workplace.project)
    digests.load(root, sum(status.st_size for status in recent.values()))
    changed = [path for path, status in recent.items() if digests.find_out(f"{root}/{path}", status) != source[path]]
    return tuple(sorted({*changed, *(path for path in gone if not _is_skipped(path))}))


def _is_skipped(path: str) -> bool:
    return not SKIPPED.isdisjoint(path.split("/"))
