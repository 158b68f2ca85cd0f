"""A bundle: a tar of `bundle.json` and, by digest and in its order, all that it names; the same run, the same bytes.

Every member's name is `bundle.json` or `sha256/<digest>`, so that nothing in the archive says where to write. Paths
stand in `bundle.json` alone, which is checked before the next byte is read. Nothing is read that it does not announce.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import secrets
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast

from runner.errors import FormatError, IntegrityError, StoreError, UsageError
from runner.records.exports.listing import MOST_BYTES, Listing, parse

_CHUNK = 1 << 20
_BLOCK = tarfile.BLOCKSIZE
_FILLED = tarfile.RECORDSIZE
_HEAD = "bundle.json"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_DAMAGED = "it was cut short or changed on the way; ask for it again"


class Reader(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


def write(path: Path, listing: Listing, places: Callable[[str], Path]) -> None:
    """Write a bundle; ``places`` says where the bytes of a digest lie. IntegrityError where they are not what it says.

    The name's end chooses the compression: `.zst` zstandard, else gzip. A file that is there already is refused.
    """
    if path.exists():
        message = f"{path} is there already"
        raise UsageError(message, hint="name another file with -o, or move that one away")
    with _compressing(path) as stream:
        head = listing.to_bytes()
        _add(stream, _HEAD, len(head), iter([head]))
        for sha256, size in listing.contents():
            _add(stream, f"sha256/{sha256}", size, _checked(places(sha256), sha256, size))
        stream.write(b"\0" * 2 * _BLOCK)


def read(path: Path, accept: Callable[[Listing], None], target: Path) -> Listing:
    """Unpack a bundle into ``target``, each content under its digest, checked as it comes.

    ``accept`` sees the listing first, and may refuse it. FormatError or IntegrityError for whatever is not as the
    listing says, also where the archive goes on after its end; what was unpacked is then not to be used.
    """
    with _decompressing(path) as stream:
        listing = _listing(stream, path)
        accept(listing)
        for sha256, size in listing.contents():
            found = _header(stream, path)
            if (found.name, found.size) != (f"sha256/{sha256}", size):
                raise _refused(path, f"it holds {found.name[:80]!r} where sha256/{sha256[:12]} of {size} bytes is due")
            _unpack(stream, path, target / sha256, sha256, size)
        _end(stream, path)
    return listing


def _add(stream: IO[bytes], name: str, size: int, blocks: Iterator[bytes]) -> None:
    header = tarfile.TarInfo(name)  # no time, no owner: the same run gives the same bytes
    header.size, header.mode = size, 0o644
    stream.write(header.tobuf(tarfile.GNU_FORMAT, "ascii", "strict"))
    for block in blocks:
        stream.write(block)
    stream.write(b"\0" * (-size % _BLOCK))


def _checked(path: Path, sha256: str, size: int) -> Iterator[bytes]:
    digest, count = hashlib.sha256(), 0
    try:
        with path.open("rb", buffering=0) as origin:
            while block := origin.read(_CHUNK):
                digest.update(block)
                count += len(block)
                if count > size:
                    break
                yield block
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise IntegrityError(message, hint="`mlrun verify` says what else is not whole") from None
    if count != size or digest.hexdigest() != sha256:
        message = f"{path} is not what its digest {sha256[:12]} says"
        raise IntegrityError(message, hint="`mlrun verify` says what else was changed")


def _listing(stream: Reader, path: Path) -> Listing:
    header = _header(stream, path)
    if header.name != _HEAD:
        message = f"{path} is no bundle of mlrun: it begins with {header.name[:80]!r}"
        raise FormatError(message, hint="`mlrun export ID --format bundle` makes one")
    if header.size > MOST_BYTES:
        raise _refused(path, f"its bundle.json has {header.size:,} bytes")
    data = _exactly(stream, path, header.size)
    _exactly(stream, path, -header.size % _BLOCK)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise _refused(path, "its bundle.json is not JSON") from None
    return parse(value)


def _header(stream: Reader, path: Path) -> tarfile.TarInfo:
    block = _exactly(stream, path, _BLOCK)
    if not block.strip(b"\0"):
        raise _refused(path, "it is cut short")
    try:
        found = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeError):
        raise _refused(path, "a header of the archive is not valid") from None
    if found.type != tarfile.REGTYPE or found.size < 0:
        raise _refused(path, f"it holds {found.name[:80]!r}, which is no regular file")
    return found


def _unpack(stream: Reader, path: Path, target: Path, sha256: str, size: int) -> None:
    digest, left = hashlib.sha256(), size
    with target.open("xb") as copy:
        while left:
            block = _exactly(stream, path, min(left, _CHUNK))
            digest.update(block)
            copy.write(block)
            left -= len(block)
    if digest.hexdigest() != sha256:
        message = f"{path} is damaged: what it has as {sha256[:12]} has another digest"
        raise IntegrityError(message, hint=_DAMAGED)
    if _exactly(stream, path, -size % _BLOCK).strip(b"\0"):
        raise _refused(path, "it holds bytes between its members")


def _end(stream: Reader, path: Path) -> None:
    """Read the two empty blocks at the end, and those with which other tools fill up."""
    rest = _exactly(stream, path, 2 * _BLOCK)
    while (block := _some(stream, path, _BLOCK)) and len(rest) < _FILLED:
        rest += block
    if block or rest.strip(b"\0"):
        raise _refused(path, "it goes on after its end")


def _exactly(stream: Reader, path: Path, size: int) -> bytes:
    parts: list[bytes] = []
    left = size
    while left:
        block = _some(stream, path, left)
        if not block:
            raise _refused(path, "it is cut short")
        parts.append(block)
        left -= len(block)
    return b"".join(parts)


def _some(stream: Reader, path: Path, size: int) -> bytes:
    try:
        return stream.read(min(size, _CHUNK))
    except (EOFError, ValueError, OSError, zlib.error) as error:
        raise _refused(path, str(error)) from None
    except Exception as error:
        if type(error).__name__ != "ZstdError":
            raise
        raise _refused(path, str(error)) from None


def _refused(path: Path, reason: str) -> FormatError:
    return FormatError(f"{path} is no whole bundle of mlrun: {reason}", hint=_DAMAGED)


@contextmanager
def _compressing(path: Path) -> Iterator[IO[bytes]]:
    """Write aside, and move into place when all is written; a name that was taken meanwhile stays as it is."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with aside.open("xb") as raw, _compressor(raw, path) as stream:
            yield stream
        os.link(aside, path)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise StoreError(message, hint="free some space, or name another place with -o") from error
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _compressor(raw: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    if path.suffix == ".zst":
        with _zstandard().ZstdCompressor(level=10, write_checksum=True).stream_writer(raw, closefd=False) as stream:
            yield stream
    else:
        with gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
            yield cast("IO[bytes]", stream)


@contextmanager
def _decompressing(path: Path) -> Iterator[Reader]:
    try:
        with path.open("rb") as raw:
            magic = raw.read(4)
            raw.seek(0)
            if magic[:2] == _GZIP:
                with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
                    yield stream
            elif magic == _ZSTD:
                with _zstandard().ZstdDecompressor(max_window_size=1 << 27).stream_reader(raw, closefd=False) as stream:
                    yield stream
            else:
                message = f"{path} is no bundle of mlrun: it is compressed neither by gzip nor by zstandard"
                raise FormatError(message, hint="`mlrun export ID --format bundle` makes one")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        if error.filename != str(path):
            raise
        message = f"cannot read {path}: {error.strerror}"
        raise UsageError(message, hint="name the file that `mlrun export --format bundle` wrote") from None


def _zstandard() -> Any:
    try:
        import zstandard  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        message = "a .zst bundle needs the package zstandard"
        hint = "install it with `pip install 'mlproject-runner[zstd]'`, or name a .tar.gz"
        raise UsageError(message, hint=hint) from None
    return zstandard
