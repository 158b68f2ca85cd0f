"""Zip archives, from a file and from a server, well-made and ill-meant."""

import http.server
import os
import stat
import threading
import zipfile
from functools import partial
from pathlib import Path

import pytest

from runner.errors import SourceError
from runner.sources import archive


def entry(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def pack(path: Path, *entries: tuple[zipfile.ZipInfo | str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in entries:
            zipped.writestr(name, data)
    return path


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    return pack(
        tmp_path / "project.zip",
        ("MLproject", "name: zipped\n"),
        (entry("run.sh", 0o100755), "#!/bin/sh\n"),
        ("sub/dir/", ""),
        ("sub/x.py", "x"),
        (entry("link", stat.S_IFLNK | 0o777), "sub/x.py"),
    )


def test_an_archive_becomes_a_tree_and_a_snapshot(desk, zipped) -> None:
    with desk.fetch(zipped) as source:
        assert (source.kind, source.in_place, source.subdirectory, source.url) == ("zip", False, "", None)
        assert (source.project / "MLproject").read_text() == "name: zipped\n"
        assert os.access(source.root / "run.sh", os.X_OK)
        assert not os.access(source.root / "sub" / "x.py", os.X_OK)
        assert (source.root / "link").readlink() == Path("sub/x.py")
        kept = source.root
    assert not kept.exists()
    captured = desk.capture(f"file://{zipped}#sub")
    assert (captured.snapshot.kind, captured.snapshot.subdirectory) == ("zip", "sub")
    assert {path: item.mode for path, item in desk.entries(captured).items()} == {
        "MLproject": "100644", "run.sh": "100755", "sub/x.py": "100644", "link": "120000",
    }  # fmt: skip


def test_the_one_directory_of_a_git_hosts_archive_is_the_project(desk, tmp_path: Path) -> None:
    path = pack(tmp_path / "main.zip", ("demo-main/MLproject", ""), ("demo-main/sub/MLproject", ""))
    with desk.fetch(path) as source:
        assert (source.subdirectory, source.project.name) == ("demo-main", "demo-main")
    with desk.fetch(f"{path}#demo-main/sub") as source:
        assert source.subdirectory == "demo-main/sub"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("../evil", "")], "a path that leaves it: '../evil'"),
        ([("a/../../evil", "")], "a path that leaves it"),
        ([("/etc/evil", "")], "a path that leaves it"),
        ([(entry("out", stat.S_IFLNK), "/etc")], "a link that leaves it: 'out' -> '/etc'"),
        ([(entry("out", stat.S_IFLNK), "../..")], "a link that leaves it"),
        ([(entry("d", stat.S_IFLNK), "."), (entry("out", stat.S_IFLNK), "d/../../..")], "a link that leaves it"),
        ([(entry("out", stat.S_IFLNK), "/etc"), ("out/evil", "")], "the path 'out' twice"),
        ([("out/x", ""), (entry("out", stat.S_IFLNK), "/etc")], "the path 'out' twice"),
        ([(entry("dev", stat.S_IFBLK), "")], "neither file, directory nor link: 'dev'"),
        ([(entry("pipe", stat.S_IFIFO), "")], "neither file, directory nor link"),
        ([("a", "1"), ("./a", "2")], "the path 'a' twice"),
        ([("a", "1"), ("a/b", "2")], "twice"),
        ([("bomb", b"\0" * 20_000_000)], "unpacks to far more than its size"),
    ],
)
def test_ill_meant_archives(desk, tmp_path: Path, entries, message: str) -> None:
    path = pack(tmp_path / "evil.zip", *entries)
    tree = tmp_path / "tree"
    tree.mkdir()
    before = {inside for inside in tmp_path.rglob("*") if tree not in inside.parents}
    with pytest.raises(SourceError) as caught:
        archive.extract(path, tree, floor=1_000_000)
    assert message in caught.value.message
    assert {inside for inside in tmp_path.rglob("*") if tree not in inside.parents} == before
    assert sum(inside.stat().st_size for inside in tree.rglob("*") if inside.is_file()) <= 5_000_000


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "byte", "password"])
def test_damaged_archives(desk, tmp_path: Path, zipped: Path, damage: str) -> None:
    data = bytearray(zipped.read_bytes())
    if damage == "byte":
        data[data.index(b"MLproject") + 12] ^= 0xFF
    if damage == "password":
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            data[data.index(mark) + offset] |= 1
    zipped.write_bytes({"empty": b"", "text": b"hello", "cut": bytes(data[: len(data) // 2])}.get(damage, bytes(data)))
    with pytest.raises(SourceError) as caught, desk.fetch(zipped):
        pass
    assert str(zipped) in caught.value.message
    assert caught.value.hint


def test_a_version_of_an_archive(desk, zipped) -> None:
    with pytest.raises(SourceError, match="it has no version 'main'"), desk.fetch(zipped, "main"):
        pass


@pytest.fixture
def server(tmp_path: Path):
    seen: list[str | None] = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"127.0.0.1:{listening.server_port}", seen
        listening.shutdown()
        thread.join()


def test_an_archive_from_a_server(desk, zipped, server) -> None:
    address, seen = server
    with desk.fetch(f"http://ada:s3cr3t@{address}/project.zip#sub") as source:
        assert source.url == source.display == f"http://{address}/project.zip"
        assert (source.project / "x.py").read_text() == "x"
    assert seen == ["Basic YWRhOnMzY3IzdA=="]
    assert not [path for path in desk.cache.rglob("*") if path.is_file()]
    with (
        pytest.raises(SourceError, match="404 File not found") as caught,
        desk.fetch(f"http://ada:s3cr3t@{address}/no.zip"),
    ):
        pass
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(SourceError, match="Connection refused"), desk.fetch("http://127.0.0.1:9/x.zip"):
        pass
