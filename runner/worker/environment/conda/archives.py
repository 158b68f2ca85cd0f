"""The archives of conda packages: fetched once, kept by their hash, and hashed before each use."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable
from urllib.parse import unquote, urlsplit

from runner.worker.environment.conda.refusals import RefusalError, kind_of, words_of
from runner.worker.processors import processors

_CHUNK = 1 << 20
_AT_ONCE = 8  # downloads
_STALE = 3600.0  # seconds after which nobody writes a file any more

Json = Any
Say = Callable[[str], None]


async def hash_what_has_no_hash(packages: "list[Json]", cache: Path, say: Say) -> None:
    """An old channel names an md5 or nothing: what it sends now is what the lock pins."""
    for one in packages:
        if not one["sha256"]:
            say(f"{one['name']}: the channel names no sha256, what it sends now is taken")
            aside = cache / f".{os.getpid()}.{file_of(one)}"
            try:
                one["sha256"] = await _download(one["url"], aside)
                md5 = await asyncio.to_thread(_digest_of, aside, "md5") if one["md5"] else None
                if md5 != one["md5"]:
                    raise RefusalError(_mismatch(one, f"md5 {one['md5']}", md5 or ""), kind="hash")
                _keep(aside, _place(one, cache))
            finally:
                aside.unlink(missing_ok=True)


async def fetched(packages: "list[Json]", cache: Path, say: Say) -> "list[Path]":
    """Return the archive of each package: of the cache where its hash is right, else fetched, and hashed."""
    places = [_place(one, cache) for one in packages]
    for path in places:
        with contextlib.suppress(OSError):
            os.utime(path.parent)  # first: what is used now, nobody prunes meanwhile
    with ThreadPoolExecutor(processors() or 1) as pool:
        digests = list(pool.map(_digest_of, places))
    missing = [(one, path) for one, path, found in zip(packages, places, digests) if found != one["sha256"]]
    remote = sum(not one["url"].startswith("file:") for one, _ in missing)
    if remote:
        size = sum(one["size"] or 0 for one, _ in missing)
        say(f"fetching {remote} conda package{'s' if remote > 1 else ''} ({size / 1e6:.1f} MB)")
    gate = asyncio.Semaphore(_AT_ONCE)
    await asyncio.gather(*(_fetch(one, path, gate) for one, path in missing))
    return places


async def _fetch(one: Json, path: Path, gate: asyncio.Semaphore) -> None:
    async with gate:
        aside = path.with_name(f".{os.getpid()}.{path.name}")
        _make_room(path.parent)
        try:
            sha256 = await _download(one["url"], aside)
            if sha256 != one["sha256"]:
                raise RefusalError(_mismatch(one, f"sha256 {one['sha256']}", sha256), kind="hash")
            _keep(aside, path)
        finally:
            aside.unlink(missing_ok=True)


async def _download(url: str, path: Path) -> str:
    """Fetch an archive and return its sha256; local ones are copied, so that what is hashed is used."""
    from rattler.package_streaming import download_to_path

    path.parent.mkdir(parents=True, exist_ok=True)
    if url.startswith("file:"):
        return await asyncio.to_thread(_copy, Path(unquote(urlsplit(url).path)), path)
    try:
        await download_to_path(client(), url, path)
    except RuntimeError as error:
        words = words_of(error)
        raise RefusalError(
            words if url in words else f"{url} cannot be fetched: {words}", kind=kind_of(error)
        ) from None
    return await asyncio.to_thread(_digest_of, path)


def _make_room(folder: Path) -> None:
    """Make the directory of an archive, and remove what was left there by who did not come to the end."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(".*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE:
                path.unlink()


def _copy(source: Path, target: Path) -> str:
    if not source.is_file():
        raise RefusalError(f"{source} is not there", kind="gone")
    digest = hashlib.sha256()
    with open(source, "rb") as reading, open(target, "wb") as writing:
        for data in iter(lambda: reading.read(_CHUNK), b""):
            digest.update(data)
            writing.write(data)
    return digest.hexdigest()


def _digest_of(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file, "" where there is none."""
    digest = hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as stream:
        for data in iter(lambda: stream.read(_CHUNK), b""):
            digest.update(data)
        return digest.hexdigest()
    return ""


def _place(one: Json, cache: Path) -> Path:
    return Path(cache, "archives", one["sha256"], file_of(one))


def _keep(aside: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(aside, path)


def _mismatch(one: Json, wanted: str, found: str) -> str:
    return f"{file_of(one)} is not the archive that was locked: {wanted} is wanted, {one['url']} has {found}"


def file_of(one: Json) -> str:
    """Return the name of a package's archive."""
    return unquote(urlsplit(one["url"]).path.rpartition("/")[2])


def channel_of(one: Json) -> str:
    """Return the address of the channel a package is from."""
    return str(one["url"]).rpartition("/")[0].rpartition("/")[0] + "/"


def client() -> Any:
    """Return what speaks to channels, with the user's logins."""
    import rattler

    return rattler.Client.default_client()
