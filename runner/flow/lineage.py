"""Whose lineage is asked for: a file or directory on this machine, a digest that records hold, or a run."""

from __future__ import annotations

import os
import re
from pathlib import Path

from runner.errors import MlrunError, RunNotFoundError, UsageError
from runner.records.lineage import Subject
from runner.store.store import Store
from runner.worker.execution.digests import Digests
from runner.worker.execution.scan import scan_whole
from runner.worker.hashing import digest_of_directory

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{8,64})")


def find_subject(text: str, store: Store) -> Subject:
    """Return what a text means: a path that is there, else a run, else a digest or its first eight digits or more.

    RunNotFoundError where it is none of these; MlrunError where a file cannot be read or a digest is not unique.
    """
    if not text:
        message = "nothing is named"
        raise UsageError(message, hint="give a file, the sha256 of one, or a run")
    path = Path(text)
    if os.path.lexists(path):
        return Subject(path=text, sha256=_digest_of(path, store))
    try:
        return Subject(run=store.find(text).id)
    except RunNotFoundError as error:
        digest = _DIGEST.fullmatch(text.lower())
        found = store.index.digests_like(digest.group(1)) if digest else []
        if len(found) > 1:
            message = f"{len(found)} files of runs have a digest that begins with {text}"
            raise MlrunError(message, hint="give more of its digits") from None
        if found:
            return Subject(sha256=found[0])
        if digest and len(digest.group(1)) == 64:  # noqa: PLR2004 - all of a sha256: nobody made it, and that is the answer
            return Subject(sha256=digest.group(1))
        message = f"{text!r} is no file that is there, and {error.message}"
        raise RunNotFoundError(message, hint="give a file, the sha256 of one, or a run") from None


def _digest_of(path: Path, store: Store) -> str:
    """Return the digest of a file's bytes, or of all files in a directory; a symlink is followed."""
    digests = Digests(store.cache)
    place = os.path.realpath(path)
    try:
        if not Path(place).is_dir():
            status = Path(place).stat()
            digests.load(str(Path(place).parent), status.st_size)
            return digests.of(place, status)
        files = scan_whole(place).files
        digests.load(place, sum(status.st_size for status in files.values()))
        return digest_of_directory((name, digests.of(f"{place}/{name}", status)) for name, status in files.items())
    except OSError as error:
        message = f"{error.filename or path} cannot be read: {error.strerror}"
        raise MlrunError(message, hint="a file's lineage is found by its bytes") from None
    finally:
        digests.save()
