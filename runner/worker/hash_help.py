"""Hashes pieces of a list of files, each when it is its turn; loads little, for a process that does nothing else."""

from __future__ import annotations

import os
import sys

from runner.worker.hashing import sha256_of_file

TYPE_CHECKING = False  # as in `hashing`
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Union

TURN = 4  # bytes: the number of a piece, the most significant first
BETWEEN_PIECES, BETWEEN_PATHS = b"\0\0", b"\0"
_MISSING = ""
_MISSING_WORD = "-"


def turns(descriptor: int) -> "Iterator[int]":
    """Yield the numbers of pieces that nobody else has; all who hash read them from one pipe, until it is empty."""
    while token := os.read(descriptor, TURN):  # whole, because all are written before the first is read
        yield int.from_bytes(token, "big")


def digests(paths: "Iterable[Union[str, bytes]]") -> "list[str]":
    """Return the sha256 of each file, "" of one that cannot be read."""
    return [_digest(path) for path in paths]


def answers(text: str) -> "Iterator[tuple[int, list[str]]]":
    """Yield the pieces that a process has hashed, by what it has printed; nothing where that is no answer."""
    for line in text.splitlines():
        number, *found = line.split(" ")
        if number.isdecimal():
            yield int(number), [_MISSING if word == _MISSING_WORD else word for word in found]


def main() -> None:
    """Hash what standard input lists, by the turns that the descriptor named in argv gives; print a line a piece."""
    pieces = sys.stdin.buffer.read().split(BETWEEN_PIECES)
    lines = []
    for number in turns(int(sys.argv[2])):
        found = digests(pieces[number].split(BETWEEN_PATHS))
        lines.append(" ".join((str(number), *(digest or _MISSING_WORD for digest in found))))
    sys.stdout.write("\n".join(lines))


def _digest(path: "Union[str, bytes]") -> str:
    try:
        return sha256_of_file(path)
    except (OSError, ValueError):  # a NUL in a name
        return _MISSING
