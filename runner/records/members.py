"""The files of an input that is a directory or a glob: what they were, and in what they differ from what they are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from runner.worker.objects import Objects
from runner.worker.results import FileFact

_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)")
_NAMED = 5  # files that one line names

Members = Mapping[str, str]  # path -> sha256


def members_of(fact: FileFact, objects: Objects) -> Members | None:
    """Return the files of an input directory, by the text whose sha256 is its digest; None where that is not known."""
    if fact.sha256 is None or not objects.has(fact.sha256) or objects.has(fact.sha256, fact.size):
        return None
    return members_in(objects.read(fact.sha256))


def members_in(listing: bytes) -> Members | None:
    """Return the files that a directory's text names; None where it is no such text."""
    matches = [_LINE.fullmatch(line) for line in os.fsdecode(listing).split("\n")[:-1]]
    found = {match[2]: match[1] for match in matches if match is not None}
    return found if len(found) == len(matches) else None


def differences(then: Members, now: Members) -> str:
    """Return which files changed, went and came, in words; the first few of many."""
    changed = [f"{path} has changed" for path in sorted(then) if path in now and now[path] != then[path]]
    gone = [f"{path} is gone" for path in sorted(then) if path not in now]
    new = [f"{path} is new" for path in sorted(now) if path not in then]
    words = [*changed, *gone, *new]
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more
