"""The digests of a run's files, from the stat cache where it knows them; opened only where that pays."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from runner.worker.hashing import sha256_of
from runner.worker.stat_cache import StatCache

_WORTH = 8 << 20  # bytes: to read and hash less is faster than to open the cache


class Digests:
    """What is known of files' bytes, and what is found out."""

    def __init__(self, cache: Path) -> None:
        """Name the cache directory of this host."""
        self._path = cache / "stat.sqlite"
        self._cache = StatCache(self._path)
        self._loaded: set[str] = set()
        self._new = 0  # bytes that were read

    def of(self, path: str, status: os.stat_result) -> str:
        """Return the sha256 of a file, which is read only where its state is new; of a symlink, its target's text."""
        if stat.S_ISLNK(status.st_mode):
            return sha256_of(os.fsencode(os.readlink(path)))
        known = self._cache.find(path, status)
        if known is not None:
            return known
        self._new += status.st_size
        return self._cache.digest(path, status)

    def find_out(self, path: str, status: os.stat_result) -> Optional[str]:
        """Return what ``of`` does, None where the file cannot be read."""
        try:
            return self.of(path, status)
        except OSError:
            return None

    def known(self, path: str, status: os.stat_result) -> Optional[str]:
        """Return the digest of a file if it can be had without reading it."""
        return self._cache.find(path, status)

    def all_known(self, root: str, files: Mapping[str, os.stat_result]) -> dict[str, str]:
        """Return the digests of those files, by their paths below ``root``, that need no reading."""
        self.load(root, sum(status.st_size for status in files.values()))
        found = {path: self._cache.find(f"{root}/{path}", status) for path, status in files.items()}
        return {path: sha256 for path, sha256 in found.items() if sha256 is not None}

    def learn(self, path: str, status: os.stat_result, sha256: str) -> None:
        """Keep a digest that was found while the file was stored; ``status`` is from before."""
        self._new += status.st_size
        self._cache.learn(path, status, sha256)

    def load(self, directory: str, size: int) -> None:
        """Have at hand what is known of the files below a directory; ``size``: of those to be asked for."""
        if size >= _WORTH and directory not in self._loaded and self._path.exists():
            self._loaded.add(directory)
            self._cache.preload(Path(directory))

    def save(self) -> None:
        """Keep what was found out for later runs."""
        if self._new >= _WORTH:
            self._cache.save()
