"""sha256 of thousands of files, shared with processes of our own: threads wait for each other at every small file."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Callable

from runner.worker.hash_help import BETWEEN_PATHS, BETWEEN_PIECES, TURN, answers, digests, turns
from runner.worker.processors import processors
from runner.worker.tools import Waiting

_FEW = 1000  # files: where a process has less to do, its start takes longer than it saves
_MOST = 8  # processes
_TO_OPEN = 30_000  # bytes that are hashed in the time that it takes to open a file
_PIECE = 4_000_000  # bytes of a piece: some 2 ms
_PIECES = 4000  # and not many more of them: their numbers have to fit into a pipe
_HELP = "import sys; sys.path.append(sys.argv[1]); from runner.worker.hash_help import main; main()"

Result = Callable[[], "list[str]"]


def sha256_of_files(files: "Sequence[tuple[str, int]]") -> "list[str]":
    """Return the sha256 of each file, "" of one that cannot be read.

    Beside its path stands what is known of its size, in bytes; the work is cut into pieces by it.
    """
    with hashing(files) as result:
        return result()


@contextlib.contextmanager
def hashing(files: "Sequence[tuple[str, int]]") -> "Iterator[Result]":
    """Have processes hash files while the block does other things; what it is given joins in and returns the digests.

    They are those of ``sha256_of_files``. What a process that is killed, or cannot be started, leaves is done here.
    """
    number = min(processors() or 1, _MOST, len(files) // _FEW) - 1
    if number < 1:
        yield lambda: digests(path for path, _ in files)
        return
    pieces = _pieces([size for _, size in files])
    with contextlib.closing(_Help(files, pieces, number)) as help_:
        yield lambda: _joined(files, pieces, help_)


def _joined(files: "Sequence[tuple[str, int]]", pieces: "Sequence[Sequence[int]]", help_: "_Help") -> "list[str]":
    found: "dict[int, str]" = {}
    for number in turns(help_.turns):
        found.update(zip(pieces[number], digests(files[at][0] for at in pieces[number])))
    for number, some in help_.results():
        if number < len(pieces) and len(some) == len(pieces[number]):
            found.update(zip(pieces[number], some))
    left = [at for at in range(len(files)) if at not in found]
    found.update(zip(left, digests(files[at][0] for at in left)))
    return [found[at] for at in range(len(files))]


class _Help:
    """Processes that hash, each the next piece that nobody has taken yet."""

    def __init__(self, files: "Sequence[tuple[str, int]]", pieces: "Sequence[Sequence[int]]", number: int) -> None:
        self.turns, end = os.pipe()
        with open(end, "wb") as stream:
            stream.write(b"".join(at.to_bytes(TURN, "big") for at in range(len(pieces))))
        names = (BETWEEN_PATHS.join(os.fsencode(files[at][0]) for at in piece) for piece in pieces)
        self._started = list(_started(BETWEEN_PIECES.join(names), self.turns, number))

    def close(self) -> None:
        """End what is not done yet, and so not wanted any more."""
        os.close(self.turns)
        for process in self._started:
            process.dismiss()

    def results(self) -> "Iterator[tuple[int, list[str]]]":
        """Yield what the processes have done, once there is nothing left to do."""
        for process in self._started:
            done = process.finish()
            yield from answers(done.text) if done.code == 0 else ()


def _started(names: bytes, turns: int, number: int) -> "Iterator[Waiting]":
    """Start processes, as many as there is room for."""
    root = Path(__file__).resolve().parents[2]
    with contextlib.suppress(OSError):
        for _ in range(number):
            with _holding(names) as stream:  # each has its own, because a file has one position
                words = [sys.executable, "-I", "-S", "-c", _HELP, os.fspath(root), str(turns)]
                yield Waiting(words, stdin=stream, keep=[turns])


@contextlib.contextmanager
def _holding(data: bytes) -> "Iterator[IO[bytes]]":
    with tempfile.TemporaryFile() as stream:
        stream.write(data)
        stream.seek(0)
        yield stream


def _pieces(sizes: "Sequence[int]") -> "list[list[int]]":
    """Return the positions of sizes in pieces of about equal work, what takes longest first."""
    costs = [size + _TO_OPEN for size in sizes]
    most = max(_PIECE, sum(costs) // _PIECES)
    pieces: "list[list[int]]" = []
    room = 0
    for at in sorted(range(len(sizes)), key=lambda at: -sizes[at]):
        if costs[at] > room:
            pieces.append([])
            room = max(most, costs[at])
        pieces[-1].append(at)
        room -= costs[at]
    return pieces
