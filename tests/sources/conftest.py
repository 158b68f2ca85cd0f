"""Real repositories, made by the real git, and one line to fetch and capture them."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.sources.fetch import fetch
from runner.sources.snapshot import Captured, take
from runner.worker.manifest import Entry, decode_manifest, materialise
from runner.worker.objects import Objects
from runner.worker.stat_cache import StatCache


@dataclass
class Repository:
    """A repository of a test's own."""

    path: Path

    def git(self, *words: str | bytes) -> str:
        command = ["git", "-c", "protocol.file.allow=always", *words]
        done = subprocess.run(command, cwd=self.path, capture_output=True, check=True)
        return os.fsdecode(done.stdout).strip()

    def write(self, **files: str) -> "Repository":
        for name, text in files.items():
            (self.path / name).write_text(text)
        return self

    def commit(self, message: str = "work") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


@dataclass
class Desk:
    """Fetches and captures with a store and a cache of its own."""

    home: Path

    @property
    def objects(self) -> Objects:
        return Objects(self.home / "objects")

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    def capture(self, uri: object, version: str | None = None, **options: object) -> Captured:
        with self.fetch(uri, version) as source:
            return take(source, self.objects, StatCache(self.home / "stat.sqlite"), **options)

    def fetch(self, uri: object, version: str | None = None, **options: object):
        return fetch(str(uri), version=version, caller=self.home, cache=self.cache, **options)

    def entries(self, captured: Captured) -> dict[str, Entry]:
        found = decode_manifest(self.objects.read(captured.snapshot.manifest))
        return {os.fsdecode(entry.path): entry for entry in found}

    def again(self, captured: Captured, target: Path) -> Path:
        target.mkdir()
        materialise(tuple(self.entries(captured).values()), self.objects, target)
        return target


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    home = tmp_path / "desk"
    home.mkdir()
    return Desk(home)


@pytest.fixture
def new_repository(tmp_path: Path):
    def make(name: str = "repo", *options: str, commit: bool = True) -> Repository:
        path = tmp_path / name
        path.mkdir(parents=True)
        repository = Repository(path)
        repository.git("init", "--quiet", "--initial-branch=main", *options)
        if commit:
            repository.write(MLproject="name: demo\n", **{"train.py": "print('hello')\n"}).commit("first")
        return repository

    return make


@pytest.fixture
def repository(new_repository) -> Repository:
    return new_repository()
