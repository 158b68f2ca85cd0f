"""The files a run reads: declared ones and `path` parameters by name, and those that were there before it began."""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Optional

from runner.errors import IntegrityError, MlrunError
from runner.worker.execution.digests import Digests
from runner.worker.execution.progress import Say
from runner.worker.execution.scan import Listing, scan_whole
from runner.worker.execution.workplace import Workplace
from runner.worker.facts import Gap
from runner.worker.globs import expand, matches
from runner.worker.hashing import digest_of_directory, listing_of, sha256_of
from runner.worker.results import FileFact, Files
from runner.worker.spec import Input
from runner.worker.stat_cache import Key, stat_key
from runner.worker.values import dataclass

MOST_FILES = 10_000  # observed files that a record names
MOST_BYTES = 1 << 30  # of observed files that are read to be hashed
_LARGE = 1 << 30


@dataclass(frozen=True)
class Sight:
    """A file that was hashed, and the state it was in."""

    fact: FileFact
    states: tuple[tuple[str, Key], ...]  # absolute path, state of what lies there; several for a directory
    gaps: tuple[Gap, ...] = ()
    listing: bytes = b""  # of a directory: the text of which its digest is one


def hash_declared(inputs: Sequence[Input], workplace: Workplace, digests: Digests, say: Say) -> tuple[Sight, ...]:
    """Hash the inputs a run is known to need. A directory is one fact, with the digest of its files.

    MlrunError where one is missing; IntegrityError where one is pinned to other bytes: each is named.
    """
    sights: list[Sight] = []
    wrong: list[str] = []
    for each in inputs:
        found = _hash_input(each, workplace, digests, say)
        if each.sha256 is not None and digest_of(each, [sight.fact for sight in found]) != each.sha256:
            wrong.append(each.path)
        sights += found
    if wrong:
        message = f"{len(wrong)} input{'s are' if len(wrong) > 1 else ' is'} not what the run is pinned to: "
        raise IntegrityError(message + ", ".join(wrong), hint="bring the old bytes back, or --allow-changed-inputs")
    return tuple(sights)


def digest_of(each: Input, facts: Iterable[FileFact]) -> Optional[str]:
    """Return the one digest of an input: its file's, its directory's, or that of the files its glob names."""
    mine = [fact for fact in facts if fact.name == each.name]
    if len(mine) == 1 and mine[0].path == each.path:
        return mine[0].sha256
    return digest_of_directory((fact.path, fact.sha256 or "") for fact in mine)


def observe(
    listing: Listing,
    source: Mapping[str, str],
    root: str,
    others: tuple[Sequence[str], Collection[str]],
    digests: Digests,
) -> Files:
    """Return the files of a project's directory that are no source, and not among ``others``.

    These are the declared outputs, which the run is to write, and the inputs that are known already.
    """
    outputs, named = others
    seen = sorted(
        path
        for path in listing.files
        if path not in source
        and path not in named
        and path not in listing.followed
        and not any(matches(pattern, path) for pattern in outputs)
    )
    gaps = list_gaps("inputs", listing)
    if len(seen) > MOST_FILES:
        gaps += (Gap("inputs", f"{len(seen):,} files were there before the run; the first {MOST_FILES:,} are named"),)
    facts, more = _hash_observed(seen[:MOST_FILES], listing.files, root, digests)
    return Files(facts, gaps + more)


def list_gaps(field: str, listing: Listing) -> tuple[Gap, ...]:
    """Return what a listing could not see."""
    gaps = tuple(Gap(field, f"the directory {path} cannot be read") for path in listing.unreadable)
    if not listing.complete:
        gaps += (Gap(field, f"the project has more than {len(listing.files):,} files; the others were not looked at"),)
    return gaps


def within_budget(paths: Iterable[str], files: Mapping[str, os.stat_result]) -> set[str]:
    """Return the files that may be hashed: small ones first, so that as many as possible have a digest."""
    chosen, total = set(), 0
    for path in sorted(paths, key=lambda each: files[each].st_size):
        total += files[path].st_size
        if total > MOST_BYTES:
            break
        chosen.add(path)
    return chosen


def changed_since(sights: Iterable[Sight]) -> tuple[str, ...]:
    """Return the inputs that are no longer in the state in which they were hashed."""
    return tuple(sorted(sight.fact.path for sight in sights if any(_state(path) != key for path, key in sight.states)))


def _hash_observed(
    paths: Sequence[str], files: Mapping[str, os.stat_result], root: str, digests: Digests
) -> tuple[tuple[FileFact, ...], tuple[Gap, ...]]:
    states = {path: state_of(f"{root}/{path}", files[path]) for path in paths}
    chosen = within_budget(paths, states)
    digests.load(root, sum(states[path].st_size for path in chosen))
    facts, unreadable = [], []
    for path in paths:
        status, sha256 = states[path], None
        if path in chosen:
            try:
                sha256 = digests.of(f"{root}/{path}", status)
            except OSError:
                unreadable.append(path)
        facts.append(FileFact(path, status.st_size, sha256, "observed", mode=mode_of(status)))
    gaps = [Gap("inputs", f"{path} cannot be read") for path in unreadable]
    if len(chosen) < len(paths):
        beyond = len(paths) - len(chosen)
        gaps.append(
            Gap("inputs", f"{beyond:,} observed files are not hashed: together they exceed {MOST_BYTES:,} bytes")
        )
    gaps += [_link_gap(path) for path in paths if _leads_away(f"{root}/{path}", states[path])]
    return tuple(facts), tuple(gaps)


def state_of(place: str, status: os.stat_result) -> os.stat_result:
    """Return the state of what is read where a file is opened: behind a link to a file, that file's."""
    with contextlib.suppress(OSError):
        if stat.S_ISLNK(status.st_mode) and stat.S_ISREG((behind := os.stat(place)).st_mode):
            return behind
    return status


def mode_of(status: os.stat_result) -> int:
    """Return the permission bits of a file; a symlink is told by its file type."""
    return stat.S_IFLNK if stat.S_ISLNK(status.st_mode) else stat.S_IMODE(status.st_mode)


def _link_gap(path: str) -> Gap:
    return Gap("inputs", f"{path} is a symlink to a directory; what lies behind it was not looked at")


def _leads_away(path: str, status: os.stat_result) -> bool:
    return stat.S_ISLNK(status.st_mode) and os.path.isdir(path)


def _hash_input(each: Input, workplace: Workplace, digests: Digests, say: Say) -> list[Sight]:
    place = workplace.places[each.name]
    basis = "declared" if each.parameter is None else "parameter"
    blank = FileFact(each.path, 0, None, basis, parameter=each.parameter, name=each.name)
    if os.path.isdir(place):
        return [_hash_directory(blank, place, digests, say)]
    if os.path.isfile(place):
        return [_hash_file(blank, place, digests, say)]
    if each.parameter is None:
        base = Path("/") if posixpath.isabs(each.path) else workplace.project
        names = _expand(base, each.path)
        if names:
            return [_hash_file(replace(blank, path=name), str(base / name), digests, say) for name in names]
    what = (
        f"the declared input {each.path}" if each.parameter is None else f"the file of the parameter {each.parameter}"
    )
    message = f"{what} is not there: {place}"
    raise MlrunError(message, hint="inputs have to be there before the run begins; correct the path, or bring them")


def _expand(base: Path, pattern: str) -> tuple[str, ...]:
    try:
        return expand(base, pattern, follow=True)
    except OSError as error:
        message = f"the directory {error.filename} cannot be read: {error.strerror}"
        raise MlrunError(message, hint=f"the declared input {pattern} may have files in it") from None


def _hash_file(blank: FileFact, path: str, digests: Digests, say: Say) -> Sight:
    try:
        status = os.stat(path)
        digests.load(os.path.dirname(path), status.st_size)
        if status.st_size > _LARGE and digests.known(path, status) is None:
            say(f"hashing {os.path.basename(path)} ({status.st_size / 1e9:.1f} GB)")
        sha256 = digests.of(path, status)
    except OSError as error:
        message = f"the input {path} cannot be read: {error.strerror}"
        raise MlrunError(message, hint="inputs are hashed before the run begins, so they have to be readable") from None
    fact = replace(blank, size=status.st_size, sha256=sha256, mode=mode_of(status))
    return Sight(fact, ((path, stat_key(status)),))


def _hash_directory(blank: FileFact, root: str, digests: Digests, say: Say) -> Sight:
    try:
        files = (listing := scan_whole(root)).files
        size = sum(status.st_size for status in files.values())
        digests.load(root, size)
        if size > _LARGE:
            say(f"hashing {os.path.basename(root)} ({len(files):,} files, {size / 1e9:.1f} GB)")
        pairs = [(path, digests.of(f"{root}/{path}", status)) for path, status in files.items()]
    except OSError as error:
        message = f"the input {error.filename} cannot be read: {error.strerror}"
        raise MlrunError(message, hint="inputs are hashed before the run begins, so they have to be readable") from None
    text = listing_of(pairs)
    fact = replace(blank, size=size, sha256=sha256_of(text), mode=0o755)
    states = tuple((f"{root}/{path}", stat_key(status)) for path, status in files.items())
    gaps = (Gap("inputs", f"{blank.path}/{path} is not part of the input {blank.path}") for path in listing.skipped)
    return Sight(fact, states, tuple(gaps), text)


def _state(path: str) -> Optional[Key]:
    try:
        return stat_key(os.stat(path))
    except OSError:
        return None
