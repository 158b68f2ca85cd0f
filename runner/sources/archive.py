"""A zip archive becomes a tree: nothing lands outside it, nothing but files and links, and no more than it may hold."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from runner.errors import SourceError, StoreError
from runner.sources.uri import strip_userinfo

_CHUNK = 1 << 20
_FLOOR = 1 << 30  # bytes: what an archive may always hold
_FACTOR = 100  # times its own size: what it may hold beyond that
_MOST_ENTRIES = 1_000_000
_UNIX = 3  # APPNOTE 4.4.2: made there, so that the attributes are a mode
_TIMEOUT = 60.0  # seconds of silence from a server


def extract(archive: Path, tree: Path, *, floor: int = _FLOOR, display: str = "") -> None:
    """Unpack into an empty directory; SourceError where the archive is damaged or means harm."""
    name = display or str(archive)
    try:
        with zipfile.ZipFile(archive) as zipped:
            _Extraction(zipped, tree, name, max(floor, _FACTOR * archive.stat().st_size)).run()
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError, UnicodeError) as error:
        message = f"{name} is not a zip archive that can be read: {str(error).rstrip('.')}"
        raise SourceError(message, hint="try `unzip -t` on it; a damaged download is fetched anew") from None
    except RuntimeError as error:
        message = f"{name} cannot be unpacked: {str(error).rstrip('.')}"
        raise SourceError(message, hint="no password is asked for: unpack it and give the directory") from None
    except OSError as error:
        message = f"cannot unpack {name}: {error.strerror or error}"
        raise StoreError(message, hint="free some space, or point MLRUN_CACHE at a larger disk") from error


class _Extraction:
    """One archive on its way into one tree."""

    def __init__(self, zipped: zipfile.ZipFile, tree: Path, name: str, allowed: int) -> None:
        self.zipped, self.tree, self.name, self.left = zipped, tree, name, allowed
        self.links: list[tuple[Path, str]] = []

    def run(self) -> None:
        entries = self.zipped.infolist()
        if len(entries) > _MOST_ENTRIES:
            raise self._refused(f"holds {len(entries)} entries", "unpack it yourself and give the directory")
        for entry in entries:
            self._entry(entry)
        # Links come last: no file can be written through one.
        for path, target in self.links:
            try:
                os.symlink(target, path)
            except FileExistsError:
                raise self._twice(path) from None
        for path, target in self.links:
            if not Path(os.path.realpath(path)).is_relative_to(self.tree.resolve()):
                raise self._hostile(f"a link that leaves it: {path.name!r} -> {target!r}")

    def _entry(self, entry: zipfile.ZipInfo) -> None:
        path, mode = self._target(entry), entry.external_attr >> 16
        kind = stat.S_IFMT(mode) if entry.create_system == _UNIX else 0
        if entry.is_dir():
            self._directory(path)
        elif kind == stat.S_IFLNK:
            self._directory(path.parent)
            self.links.append((path, os.fsdecode(self._read(entry))))
        elif kind in (0, stat.S_IFREG):
            self._directory(path.parent)
            self._file(entry, path, 0o755 if mode & 0o100 else 0o644)
        else:
            raise self._hostile(f"something that is neither file, directory nor link: {entry.filename!r}")

    def _target(self, entry: zipfile.ZipInfo) -> Path:
        parts = entry.filename.rstrip("/").split("/")
        if entry.filename.startswith("/") or ".." in parts or "\0" in entry.orig_filename:
            raise self._hostile(f"a path that leaves it: {entry.filename!r}")
        return self.tree.joinpath(*parts)

    def _directory(self, path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise self._twice(path) from None

    def _file(self, entry: zipfile.ZipInfo, path: Path, mode: int) -> None:
        try:
            with self.zipped.open(entry) as packed, path.open("xb") as stream:
                while block := packed.read(_CHUNK):
                    self._count(len(block))
                    stream.write(block)
                os.fchmod(stream.fileno(), mode)
        except (FileExistsError, IsADirectoryError):
            raise self._twice(path) from None

    def _read(self, entry: zipfile.ZipInfo) -> bytes:
        with self.zipped.open(entry) as packed:
            data = packed.read(os.pathconf("/", "PC_PATH_MAX") + 1)
        self._count(len(data))
        return data

    def _count(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            reason = "unpacks to far more than its size"
            raise self._refused(reason, "unpack it yourself and give the directory")

    def _twice(self, path: Path) -> SourceError:
        return self._hostile(f"the path {path.relative_to(self.tree).as_posix()!r} twice")

    def _hostile(self, what: str) -> SourceError:
        return self._refused(f"holds {what}", "do not run it unless you know who made it, and why")

    def _refused(self, what: str, hint: str) -> SourceError:
        return SourceError(f"{self.name} {what}", hint=hint)


def download(url: str, target: Path, say: Callable[[str], None]) -> None:
    """Fetch a URL into a new file. Credentials in it go to its host alone, not where it redirects to."""
    import base64
    import urllib.error
    import urllib.request
    from http.client import HTTPException
    from urllib.parse import unquote, urlsplit

    display = strip_userinfo(url)
    request = urllib.request.Request(display, headers={"User-Agent": "mlrun"})  # noqa: S310  (http and https only: parsed)
    parts = urlsplit(url)
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(secret).decode("ascii"))
    say(f"fetching {display}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer, target.open("xb") as stream:  # noqa: S310
            shutil.copyfileobj(answer, stream, _CHUNK)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        reason = getattr(reason, "strerror", None) or reason
        status = ""
        if isinstance(error, urllib.error.HTTPError):
            status = f"{error.code} "
            error.close()
        message = f"cannot fetch {display}: {status}{str(reason).rstrip('.')}"
        raise SourceError(message, hint="check the address; proxies are read from https_proxy and http_proxy") from None
    except OSError as error:
        message = f"cannot write to the cache at {target}: {error.strerror}"
        raise StoreError(message, hint="free some space, or point MLRUN_CACHE at a larger disk") from error
