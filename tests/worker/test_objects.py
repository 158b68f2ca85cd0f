"""The content store: what goes in comes out bit for bit, or not at all."""

import errno
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.errors import IntegrityError, StoreError
from runner.worker.hashing import sha256_of
from runner.worker.objects import Objects, clone_or_copy


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "objects")


def stored(objects: Objects) -> set[str]:
    return {f"{path.parent.name}{path.name}" for path in objects.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20])
def test_in_and_out(objects: Objects, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    sha256 = objects.add_file(tmp_path / "source")
    assert sha256 == sha256_of(data) == objects.add(data) == objects.add_file(os.fsencode(tmp_path / "source"))
    assert objects.read(sha256) == data
    objects.copy_to(sha256, tmp_path / "copy", 0o755)
    assert (tmp_path / "copy").read_bytes() == data
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o755
    assert stored(objects) == {sha256}
    assert objects.path(sha256).stat().st_mode & 0o222 == 0
    assert (objects.has(sha256), objects.has(sha256, size), objects.has(sha256, size + 1)) == (True, True, False)
    objects.sync()


def test_what_is_known_and_there_is_not_read(objects: Objects, tmp_path: Path) -> None:
    sha256 = objects.add(b"x")
    assert objects.add_file(tmp_path / "missing", expected=sha256) == sha256
    (tmp_path / "other").write_bytes(b"y")
    assert objects.add_file(tmp_path / "other", expected=sha256_of(b"z")) == sha256_of(b"y")  # the bytes decide


def test_a_cut_object_is_made_whole(objects: Objects) -> None:
    sha256 = objects.add(b"12345")
    objects.path(sha256).chmod(0o600)
    objects.path(sha256).write_bytes(b"12")
    with pytest.raises(IntegrityError, match="was changed"):
        objects.read(sha256)
    objects.add(b"12345")
    assert objects.read(sha256) == b"12345"


def test_missing_and_changed_objects(objects: Objects, tmp_path: Path) -> None:
    missing = "0" * 64
    assert not objects.has(missing)
    for act in (lambda: objects.read(missing), lambda: objects.copy_to(missing, tmp_path / "copy")):
        with pytest.raises(IntegrityError, match="is not in the store"):
            act()
    sha256 = objects.add(b"good")
    objects.path(sha256).chmod(0o600)
    objects.path(sha256).write_bytes(b"evil")
    for act in (lambda: objects.read(sha256), lambda: objects.copy_to(sha256, tmp_path / "copy")):
        with pytest.raises(IntegrityError, match="was changed"):
            act()
    assert not (tmp_path / "copy").exists()


def test_a_copy_overwrites_nothing(objects: Objects, tmp_path: Path) -> None:
    sha256 = objects.add(b"x")
    (tmp_path / "there").write_text("mine")
    with pytest.raises(FileExistsError):
        objects.copy_to(sha256, tmp_path / "there")
    assert (tmp_path / "there").read_text() == "mine"


def test_sources_that_are_no_files(objects: Objects, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing"):
        with pytest.raises(OSError) as caught:
            objects.add_file(path)
        assert not isinstance(caught.value, StoreError)
    assert stored(objects) == set()


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write to the store"):
        Objects(tmp_path / "file").add(b"x")


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files stops a write short in the same way, and then refuses the next.
    code = f"""
import resource, signal, sys
from pathlib import Path
from runner.worker.objects import Objects
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
objects = Objects(Path({str(tmp_path / "objects")!r}))
try:
    objects.add(b"x" * 5000)
except OSError as error:
    print(error.errno)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == str(errno.EFBIG)
    assert not [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_many_writers_of_the_same(objects: Objects) -> None:
    data = os.urandom(3 << 20)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(objects.add(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {sha256_of(data)}
    assert len(found) == 8
    assert stored(objects) == {sha256_of(data)}


def test_sync_of_many_and_of_what_gc_took(objects: Objects) -> None:
    digests = [objects.add(str(index).encode()) for index in range(100)]
    objects.sync()
    sha256 = objects.add(b"gone")
    objects.path(sha256).unlink()
    objects.sync()
    assert all(objects.has(sha256) for sha256 in digests)


def test_clone_or_copy(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "a").chmod(0o755)
    clone_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"x" * 100_000
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o755


def test_a_file_that_is_adopted_is_the_object_itself_and_read_only(objects: Objects, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"model")
    source.chmod(0o750)
    os.utime(source, (1, 1))
    sha256 = objects.adopt(source, source.lstat())
    assert sha256 == sha256_of(b"model")
    assert source.samefile(objects.path(sha256))
    assert source.stat().st_mode & 0o777 == 0o550
    assert source.stat().st_mtime > 1  # garbage is told by its age
    assert objects.read(sha256) == b"model"
    objects.sync()
    again = tmp_path / "again"
    again.write_bytes(b"model")
    assert objects.adopt(again, again.lstat()) == sha256
    source.unlink()
    again.write_bytes(b"another")
    assert objects.read(sha256) == b"model"


def test_a_file_that_has_another_name_is_copied(objects: Objects, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"shared")
    (tmp_path / "name").hardlink_to(source)
    sha256 = objects.adopt(source, source.lstat())
    source.write_bytes(b"changed")
    assert objects.read(sha256) == b"shared"


def test_an_object_that_was_cut_short_is_made_whole_by_what_is_adopted(objects: Objects, tmp_path: Path) -> None:
    sha256 = objects.add(b"whole")
    objects.path(sha256).chmod(0o600)
    objects.path(sha256).write_bytes(b"wh")
    source = tmp_path / "source"
    source.write_bytes(b"whole")
    assert objects.adopt(source, source.lstat()) == sha256
    assert objects.read(sha256) == b"whole"


def test_a_file_of_another_file_system_is_copied(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system here")
    objects = Objects(tmp_path / "objects")
    source = elsewhere / f"mlrun-test-{os.getpid()}"
    try:
        source.write_bytes(b"far")
        sha256 = objects.adopt(source, source.lstat())
    finally:
        source.unlink()
    assert objects.read(sha256) == b"far"
