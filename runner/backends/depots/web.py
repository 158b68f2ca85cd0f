"""A depot on any file system that fsspec knows: S3 and its likes, Google's and Azure's stores, WebDAV, SFTP, ..."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.errors import MlrunError, StoreError, UsageError
from runner.worker.environment.logins import redacted
from runner.worker.hashing import sha256_of_file
from runner.worker.remote.depot import VERSION, Item

_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "http": "http",
    "https": "http",
}


class FsspecDepot:
    """Reads and writes files of a depot by the file system's own words; it has to write a file as a whole."""

    def __init__(self, url: str, *, make: bool) -> None:
        """See that there is a depot."""
        self._public = redacted(url)
        self._system, self._root = _system(url, self._public)
        with self._said("use"):
            version = self._path("VERSION")
            if make and not self._system.exists(version):
                self._system.makedirs(self._root, exist_ok=True)
                self._system.pipe_file(version, VERSION)
            if not self._system.exists(version):
                message = f"there is no depot at {self._public}"
                raise StoreError(message, hint="`mlrun push` makes one; is the address right?")
            if self._system.cat_file(version) != VERSION:
                message = f"the depot at {self._public} is of another version"
                raise StoreError(message, hint="upgrade mlrun")

    def lacking(self, items: Sequence[Item]) -> list[Item]:
        """Return what is not there, or was cut short."""
        with self._said("read"):
            return [item for item in items if self._size(item) != item.size]

    def listings(self, under: str) -> list[Item]:
        """Return the listings."""
        with self._said("read"):
            self._system.invalidate_cache()
            if not self._system.exists(self._path(under)):
                return []
            prefix = self._system._strip_protocol(self._root).rstrip("/") + "/"  # noqa: SLF001 - as `find` does it
            found = self._system.find(self._path(under), detail=True)
            names = ((str(name), int(info["size"])) for name, info in found.items() if str(name).startswith(prefix))
            return [Item(name[len(prefix) :], size) for name, size in sorted(names)]

    def put(self, files: Mapping[Item, Path]) -> None:
        """Bring files there."""
        with self._said("write to"):
            for item, path in files.items():
                if sha256_of_file(path) != item.sha256:
                    message = f"{path} is not what its digest {item.sha256[:12]} says"
                    raise StoreError(message, hint="`mlrun verify` says what was changed")
                target = self._path(item.name)
                self._system.makedirs(posixpath.dirname(target), exist_ok=True)
                self._system.put_file(str(path), target)

    def get(self, files: Mapping[Item, Path]) -> None:
        """Bring files here, each checked by its digest."""
        with self._said("read"):
            for item, target in files.items():
                self._system.get_file(self._path(item.name), str(target))
                if sha256_of_file(target) != item.sha256:
                    target.unlink()
                    message = f"{item.name} at {self._public} is not what its digest says"
                    raise StoreError(message, hint="push the run again, to another depot")

    def close(self) -> None:
        """Nothing is to be ended."""

    def _size(self, item: Item) -> int | None:
        assert item.sha256
        try:
            size = self._system.info(self._path(item.name)).get("size")
        except FileNotFoundError:
            return None
        return None if size is None else int(size)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        try:
            yield
        except MlrunError:
            raise
        except Exception as error:  # noqa: BLE001 - each file system of fsspec raises errors of its own
            reason = redacted(" ".join(str(error).split())[:300]) or type(error).__name__
            message = f"cannot {what} the depot at {self._public}: {reason}"
            raise StoreError(message, hint="check the address, the network, and what you may do there") from None


def _system(url: str, public: str) -> tuple[Any, str]:
    import fsspec  # type: ignore[import-untyped]

    scheme = url.partition("://")[0]
    try:
        system, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        cure = f"pip install 'mlproject-runner[{extra}]'" if extra else redacted(str(error))
        message = f"{scheme}: needs a package that is not installed"
        raise UsageError(message, hint=cure) from None
    except ValueError as error:
        message = f"{public} is no address of a depot: {redacted(str(error))}"
        raise UsageError(message, hint="give a directory, HOST:PATH, or a URL such as s3://bucket/runs") from None
    return system, str(root)
