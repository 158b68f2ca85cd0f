"""The manifest of a snapshot: one byte form, read strictly, and made into files that stay where they belong."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import FormatError, IntegrityError
from runner.worker.hashing import sha256_of
from runner.worker.manifest import (
    EXECUTABLE,
    FILE,
    SYMLINK,
    Entry,
    decode_manifest,
    encode_manifest,
    followed,
    materialise,
)
from runner.worker.objects import Objects

_DIGEST = sha256_of(b"")
_PATHS = st.binary(min_size=1, max_size=12).map(lambda data: data.replace(b"\0", b"x"))
_ENTRIES = st.builds(Entry, _PATHS, st.sampled_from([FILE, EXECUTABLE, SYMLINK]), st.binary(max_size=3).map(sha256_of))


@given(st.lists(_ENTRIES, unique_by=lambda entry: entry.path))
def test_there_and_back_in_one_form(entries: list[Entry]) -> None:
    data = encode_manifest(entries)
    assert decode_manifest(data) == tuple(sorted(entries, key=lambda entry: entry.path))
    assert encode_manifest(reversed(entries)) == data


def test_the_form_is_that_of_git_ls_tree() -> None:
    entries = [Entry(b"b", EXECUTABLE, _DIGEST), Entry(b"a\tb\n", FILE, _DIGEST)]
    assert encode_manifest(entries) == f"100644 {_DIGEST}\ta\tb\n\x00100755 {_DIGEST}\tb\x00".encode()
    assert encode_manifest([]) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"\0",
        f"100644 {_DIGEST}\ta".encode(),
        f"100644 {_DIGEST}\ta\0trailing".encode(),
        f"100644 {_DIGEST}\t\0".encode(),
        f"100600 {_DIGEST}\ta\0".encode(),
        f"100644 {_DIGEST.upper()}\ta\0".encode(),
        b"100644 ../../etc/passwd\ta\0",
        f"100644  {_DIGEST}\ta\0".encode(),
    ],
)
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(FormatError, match="manifest is damaged"):
        decode_manifest(data)


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "objects")


def test_made_into_files(objects: Objects, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    entries = (
        Entry(b"a/b/\xff\n", FILE, objects.add(b"1")),
        Entry(b"a/run", EXECUTABLE, objects.add(b"2")),
        Entry(b"link", SYMLINK, objects.add(b"a/\xff")),
    )
    materialise(entries, objects, target)
    assert (target / "a" / "b" / os.fsdecode(b"\xff\n")).read_bytes() == b"1"
    assert (target / "a" / "run").stat().st_mode & 0o777 == 0o755
    assert os.fsencode((target / "link").readlink()) == b"a/\xff"


@pytest.mark.parametrize("path", [b"../x", b"a/../../x", b"/tmp/x", b"a//x", b"./x", b"..", b"link/x", b"a/link/x"])
def test_nothing_is_written_outside(objects: Objects, tmp_path: Path, path: bytes) -> None:
    target = tmp_path / "target"
    target.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    link = objects.add(os.fsencode(outside))
    entries = [Entry(b"a/link", SYMLINK, link), Entry(b"link", SYMLINK, link), Entry(path, FILE, objects.add(b"x"))]
    for order in (entries, entries[::-1]):
        with pytest.raises(IntegrityError, match="leaves its directory"):
            materialise(order, objects, target)
        assert list(outside.iterdir()) == []
        for made in [target / "a" / "link", target / "link"]:
            made.unlink(missing_ok=True)


def test_bytes_that_are_missing_or_changed(objects: Objects, tmp_path: Path) -> None:
    sha256 = objects.add(b"x")
    (tmp_path / "one").mkdir()
    with pytest.raises(IntegrityError, match="is not in the store"):
        materialise((Entry(b"a", FILE, "0" * 64),), objects, tmp_path / "one")
    objects.path(sha256).chmod(0o600)
    objects.path(sha256).write_bytes(b"y")
    with pytest.raises(IntegrityError, match="was changed"):
        materialise((Entry(b"a", FILE, sha256),), objects, tmp_path / "one")
    assert list((tmp_path / "one").iterdir()) == []


def test_links_are_what_they_lead_to_inside_of_the_snapshot(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "objects")
    made = {b"a/x": (FILE, b"x"), b"a/y": (EXECUTABLE, b"y")}
    goals = {
        b"l": b"a/x",
        b"chain": b"l",
        b"d/dir": b"../a",
        b"d/round": b"round",
        b"a/up": b"..",
        b"away": b"/etc/passwd",
    }
    entries = [Entry(path, mode, objects.add(data)) for path, (mode, data) in made.items()]
    entries += [Entry(path, SYMLINK, objects.add(goal)) for path, goal in goals.items()]
    found = {entry.path: (entry.mode, objects.read(entry.sha256)) for entry in followed(entries, objects)}
    x, y = made[b"a/x"], made[b"a/y"]
    assert found == {**made, b"l": x, b"chain": x, b"d/dir/x": x, b"d/dir/y": y}
