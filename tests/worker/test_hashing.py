"""Digests of bytes, files and directories."""

import hashlib
import os
from pathlib import Path

import pytest

from runner.worker.hashing import digest_of_directory, sha256_of, sha256_of_file
from tests.needs import need


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_of_a_file(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "x").write_bytes(data)
    assert (
        sha256_of_file(tmp_path / "x")
        == sha256_of_file(os.fsencode(tmp_path / "x"))
        == hashlib.sha256(data).hexdigest()
    )


def test_of_what_is_no_file_neither_hangs_nor_answers(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", Path("/dev/null")):
        with pytest.raises(OSError):
            sha256_of_file(path)


def test_a_file_whose_bytes_cannot_be_had_is_named() -> None:
    need("proc", Path("/proc/self/mem").is_file(), "there is no /proc")
    with pytest.raises(OSError, match="/proc/self/mem"):
        sha256_of_file("/proc/self/mem")


def test_of_a_directory_is_what_sha256sum_would_say() -> None:
    pairs = [("b", sha256_of(b"2")), ("a", sha256_of(b"1"))]
    text = "".join(sorted(f"{digest}  {path}\n" for path, digest in pairs))
    assert digest_of_directory(pairs) == digest_of_directory(reversed(pairs)) == sha256_of(text.encode())
    assert digest_of_directory([("a\udcff", "0" * 64)])
