"""What every depot does: a directory, one over a real sshd, one of fsspec."""

import os
import threading
from pathlib import Path

import pytest

from runner.backends.depots.depot import open_depot
from runner.errors import MlrunError, StoreError, UsageError
from runner.worker.hashing import sha256_of
from runner.worker.remote.depot import Item, object_item

RUN = "01900000-0000-7000-8000-000000000001"


@pytest.fixture(params=["directory", "ssh", "fsspec"])
def address(request, tmp_path: Path) -> str:
    if request.param == "ssh":
        request.getfixturevalue("machine")
        return f"lab:depots/{os.getpid()}-{tmp_path.name}"
    return f"{'local://' if request.param == 'fsspec' else ''}{tmp_path}/depot"


@pytest.fixture
def depot(address: str, tmp_path: Path):
    depot = open_depot(address, tmp_path / "cache", make=True)
    yield depot
    depot.close()


def blob(directory: Path, data: bytes) -> tuple[Item, Path]:
    directory.mkdir(exist_ok=True)
    path = directory / sha256_of(data)[:16]
    path.write_bytes(data)
    return object_item(sha256_of(data), len(data)), path


def listing(directory: Path, data: bytes) -> tuple[Item, Path]:
    _, path = blob(directory, data)
    return Item(f"runs/{RUN}/{sha256_of(data)}.json", len(data)), path


def test_what_is_put_is_there_and_comes_back(depot, tmp_path):
    files = dict(blob(tmp_path / "from", data) for data in (b"", b"small", os.urandom(3 << 20)))
    assert depot.lacking(list(files)) == list(files)
    depot.put(files)
    assert depot.lacking(list(files)) == []
    assert depot.listings("runs") == []
    item, path = listing(tmp_path / "from", b'{"a": 1}')
    depot.put({item: path})
    assert depot.listings("runs") == depot.listings(f"runs/{RUN}") == [item]
    assert depot.listings("runs/01900000-0000-7000-8000-000000000002") == []
    (tmp_path / "to").mkdir()
    targets = {item: tmp_path / "to" / item.sha256 for item in files}
    depot.get(targets)
    for item, target in targets.items():
        assert target.read_bytes() == files[item].read_bytes()


def test_what_is_not_as_its_digest_says_is_refused_both_ways(depot, tmp_path):
    item, path = blob(tmp_path / "from", b"true bytes")
    path.write_bytes(b"fake bytes")
    with pytest.raises(MlrunError, match=r"is not what its digest|did not arrive as it was"):
        depot.put({item: path})
    assert depot.lacking([item]) == [item]
    (tmp_path / "to").mkdir()
    with pytest.raises(MlrunError):
        depot.get({item: tmp_path / "to" / "x"})
    path.write_bytes(b"true bytes")
    depot.put({item: path})
    assert depot.lacking([item]) == []


def test_names_that_no_depot_has_are_refused(depot, tmp_path):
    _, path = blob(tmp_path / "from", b"x")
    for name in ("../escape", "objects/sha256/ab/../../../escape", "/etc/escape", "runs/x.json", "VERSION"):
        with pytest.raises(MlrunError, match="is no name of a depot's file"):
            depot.put({Item(name, 1): path})


def test_four_who_push_the_same_at_once_end_with_whole_files(address, tmp_path):
    data = os.urandom(5 << 20)
    files = [
        dict([blob(tmp_path / f"from{one}", data), blob(tmp_path / f"from{one}", b"%d" % one)]) for one in range(4)
    ]
    errors: list[BaseException] = []
    open_depot(address, tmp_path / "cache", make=True).close()

    def push(mine):
        try:
            depot = open_depot(address, tmp_path / "cache", make=True)
            depot.put(mine)
            depot.close()
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=push, args=(mine,)) for mine in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    depot = open_depot(address, tmp_path / "cache", make=False)
    (tmp_path / "to").mkdir()
    wanted = {item: tmp_path / "to" / item.sha256 for mine in files for item in mine}
    assert depot.lacking(list(wanted)) == []
    depot.get(wanted)
    assert len(wanted) == 5
    depot.close()


def test_a_depot_that_is_none_is_said_to_be(address, tmp_path):
    with pytest.raises(StoreError, match="there is no depot at"):
        open_depot(address, tmp_path / "cache", make=False)


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="is a directory of something else"):
        open_depot(str(tmp_path), tmp_path / "cache", make=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "VERSION").write_text("2\n")
    with pytest.raises(StoreError, match="is of version '2', not of 1"):
        open_depot(str(tmp_path / "new"), tmp_path / "cache", make=True)


def test_what_was_cut_short_is_put_again(tmp_path):
    depot = open_depot(str(tmp_path / "depot"), tmp_path / "cache", make=True)
    item, path = blob(tmp_path / "from", b"whole")
    depot.put({item: path})
    there = tmp_path / "depot" / item.name
    there.chmod(0o600)
    there.write_bytes(b"who")
    assert depot.lacking([item]) == [item]
    depot.put({item: path})
    assert there.read_bytes() == b"whole"
    assert list((tmp_path / "depot" / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "text", ["nothing://x/y", "ssh://", "ssh://a:b@host/x", "ssh://host:port/x", "lab:", "s3://bucket/x"]
)
def test_what_is_no_address_is_one_line(text, tmp_path):
    with pytest.raises(UsageError) as error:
        open_depot(text, tmp_path / "cache", make=True)
    assert "\n" not in error.value.message
    assert error.value.hint
