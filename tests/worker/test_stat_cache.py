"""A cache of digests that may cost time but never tells an untruth."""

import os
import sqlite3
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.worker.hashing import sha256_of
from runner.worker.stat_cache import StatCache, stat_key


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that has not been touched for longer than a clock tick."""
    path = tmp_path / "files" / "data"
    path.parent.mkdir()
    path.write_bytes(b"first")
    time.sleep(0.15)
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "stat.sqlite"


def known(database: Path, path: Path) -> str | None:
    cache = StatCache(database)
    cache.preload(path.parent)
    return cache.find(path, path.lstat())


def learn(database: Path, path: Path) -> str:
    cache = StatCache(database)
    digest = cache.digest(path)
    cache.save()
    return digest


def test_what_is_known_is_not_read(old: Path, database: Path) -> None:
    digest = learn(database, old)
    assert known(database, old) == digest == sha256_of(b"first")
    cache = StatCache(database)
    cache.preload(old.parent)
    cache._known[os.fsencode(old)] = (stat_key(old.stat()), "remembered")
    assert cache.digest(old) == "remembered"


def test_what_is_gone_is_forgotten_when_asked(old: Path, database: Path) -> None:
    lost, odd = old.with_name("lost"), Path(os.fsdecode(os.fsencode(old) + b"\xff"))
    for path in (lost, odd):
        path.write_bytes(b"x")
    time.sleep(0.15)
    for path in (old, lost, odd):
        learn(database, path)
    status = lost.lstat()
    lost.unlink()
    StatCache(database).forget_lost()
    assert known(database, old) == sha256_of(b"first")
    assert known(database, odd) == sha256_of(b"x")
    cache = StatCache(database)
    cache.preload(old.parent)
    assert cache.find(lost, status) is None
    StatCache(None).forget_lost()


def test_every_change_is_seen(old: Path, database: Path) -> None:
    status = old.stat()

    def edited_with_mtime_restored() -> None:
        old.write_bytes(b"other")
        os.utime(old, ns=(status.st_atime_ns, status.st_mtime_ns))

    def replaced() -> None:
        other = old.with_name("other")
        other.write_bytes(b"third")
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.rename(old)

    for change in (edited_with_mtime_restored, replaced, old.touch):
        time.sleep(0.15)
        learn(database, old)
        assert known(database, old) is not None
        change()
        assert known(database, old) is None
        assert StatCache(database).digest(old) == sha256_of(old.read_bytes())


def test_a_file_that_was_just_written_is_not_trusted(tmp_path: Path, database: Path) -> None:
    path = tmp_path / "fresh"
    path.write_bytes(b"1")
    learn(database, path)
    assert known(database, path) is None
    cache = StatCache(database)
    cache.learn(path, path.lstat(), "x")
    assert cache.find(path, path.lstat()) is None


def test_an_mtime_in_the_future_does_not_hinder(old: Path, database: Path) -> None:
    os.utime(old, (time.time() + 1e6, time.time() + 1e6))
    time.sleep(0.15)
    learn(database, old)
    assert known(database, old) is not None


def test_preload_is_of_one_directory_only(tmp_path: Path, database: Path) -> None:
    for name in ("a", "a/b", "a0", "a-"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "x").write_bytes(name.encode())
    time.sleep(0.15)
    for path in tmp_path.rglob("x"):
        learn(database, path)
    cache = StatCache(database)
    cache.preload(tmp_path / "a")
    assert set(cache._known) == {os.fsencode(tmp_path / "a/x"), os.fsencode(tmp_path / "a/b/x")}


@pytest.mark.parametrize("damage", [b"", b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_cache_is_made_anew(old: Path, database: Path, damage: bytes) -> None:
    learn(database, old)
    database.write_bytes(damage)
    assert known(database, old) is None
    learn(database, old)
    assert known(database, old) == sha256_of(b"first")


def test_a_cache_of_another_shape_is_made_anew(old: Path, database: Path) -> None:
    database.parent.mkdir()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE digest (something TEXT)")
    connection.close()
    assert learn(database, old) == sha256_of(b"first")
    learn(database, old)
    assert known(database, old) == sha256_of(b"first")


def test_a_cache_that_cannot_be_written_costs_only_time(old: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert learn(tmp_path / "file" / "stat.sqlite", old) == sha256_of(b"first")
    assert learn(tmp_path / "files", old) == sha256_of(b"first")  # a directory


def test_a_path_in_memory_only(old: Path) -> None:
    cache = StatCache(None)
    assert cache.digest(old) == sha256_of(b"first")
    assert cache.find(old, old.lstat()) == sha256_of(b"first")
    cache.remember("k", "v")
    assert cache.recall("k") == "v"
    cache.save()


def test_notes(database: Path) -> None:
    cache = StatCache(database)
    assert cache.recall("key") is None
    cache.remember("key", "value")
    assert cache.recall("key") == "value"
    cache.save()
    assert StatCache(database).recall("key") == "value"


def test_names_of_any_bytes_and_large_inodes(tmp_path: Path, database: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\n")
    path.write_bytes(b"1")
    time.sleep(0.15)
    learn(database, path)
    assert known(database, path) == sha256_of(b"1")
    status = SimpleNamespace(st_dev=(1 << 64) - 1, st_ino=(1 << 64) - 1, st_size=1, st_mtime_ns=0, st_ctime_ns=0)
    cache = StatCache(database)
    cache.learn(path, status, "x")
    cache.save()
    cache = StatCache(database)
    cache.preload(tmp_path)
    assert cache.find(path, status) == "x"


def test_many_writers(old: Path, database: Path) -> None:
    for index in range(8):
        (old.parent / str(index)).write_bytes(bytes([index]))
    time.sleep(0.15)
    threads = [threading.Thread(target=learn, args=(database, old.parent / str(index))) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [known(database, old.parent / str(index)) for index in range(8)] == [
        sha256_of(bytes([index])) for index in range(8)
    ]
