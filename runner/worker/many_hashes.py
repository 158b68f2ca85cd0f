"""sha256 of thousands of files, shared with processes of our own: threads wait for each other at every small file."""

from __future__ import annotations

import contextlib
import heapq
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Optional

from runner.worker.hashing import sha256_of_file
from runner.worker.processors import processors
from runner.worker.tools import call

_MISSING = ""
_FEW = 1000  # files: where a process has less to do, its start takes longer than it saves
_MOST = 8  # processes
_TO_OPEN = 30_000  # bytes that are hashed in the time that it takes to open a file
_TO_START = 30_000_000  # and in the time that a process takes to start
_HELP = "import sys; sys.path.append(sys.argv[1]); from runner.worker.many_hashes import help_out; help_out()"


def sha256_of_files(files: "Sequence[tuple[str, int]]") -> "list[str]":
    """Return the sha256 of each file, "" of one that cannot be read.

    Beside its path stands what is known of its size, in bytes; the work is shared out by it.
    """
    number = min(processors() or 1, _MOST, len(files) // _FEW)
    if number < 2:  # noqa: PLR2004
        return _digests(path for path, _ in files)
    own, *others = _shared_out([size for _, size in files], number)
    helpers = [_Helper([files[at][0] for at in share]) for share in others]
    digests = dict(zip(own, _digests(files[at][0] for at in own)))
    for share, helper in zip(others, helpers):
        digests.update(zip(share, helper.result()))
    return [digests[at] for at in range(len(files))]


class _Helper(threading.Thread):
    """Listens to a process that hashes files."""

    def __init__(self, paths: "Sequence[str]") -> None:
        super().__init__(daemon=True)
        self._paths = paths
        self._found: "Optional[list[str]]" = None
        self.start()

    def run(self) -> None:
        root, names = Path(__file__).resolve().parents[2], os.fsencode("\0".join(self._paths))
        with contextlib.suppress(OSError):  # no room for one more
            done = call([sys.executable, "-I", "-S", "-c", _HELP, root], stdin=names)
            found = done.text.split("\n")
            self._found = found if done.code == 0 and len(found) == len(self._paths) else None

    def result(self) -> "list[str]":
        """Return the digests; what the process did not do is done here."""
        self.join()
        return _digests(self._paths) if self._found is None else self._found


def help_out() -> None:
    """Hash the files that standard input names, NUL between, and print a line for each: this is another's process."""
    paths = sys.stdin.buffer.read().split(b"\0")
    sys.stdout.write("\n".join(_digests(os.fsdecode(path) for path in paths)))


def _shared_out(sizes: "Sequence[int]", number: int) -> "list[list[int]]":
    """Return the positions of sizes in as many shares, of which the first has to start nothing."""
    shares: "list[list[int]]" = [[] for _ in range(number)]
    loads = [(_TO_START * (which > 0), which) for which in range(number)]
    for at in sorted(range(len(sizes)), key=lambda at: -sizes[at]):
        load, which = loads[0]
        shares[which].append(at)
        heapq.heapreplace(loads, (load + sizes[at] + _TO_OPEN, which))
    return shares


def _digests(paths: "Iterable[str]") -> "list[str]":
    return [_digest(path) for path in paths]


def _digest(path: str) -> str:
    try:
        return sha256_of_file(path)
    except OSError:
        return _MISSING
