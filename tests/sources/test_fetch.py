"""Repositories by address and by version, through the cache of bare clones, and what is left of them afterwards."""

import base64
import http.server
import os
import shutil
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from runner.errors import SourceError, StoreError
from runner.sources import trees
from runner.sources.fetch import fetch
from runner.worker.hashing import sha256_of
from tests.needs import need


@pytest.fixture
def bare(repository, tmp_path: Path) -> Path:
    """A bare clone of the repository, which the repository pushes to."""
    path = tmp_path / "bare.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", repository.path, path], check=True)
    repository.git("remote", "add", "origin", str(path))
    return path


def names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_a_bare_repository_by_path_and_by_uri(desk, bare, repository) -> None:
    for uri in (bare, f"file://{bare}"):
        with desk.fetch(uri) as source:
            assert names(source.root) == {"MLproject", "train.py"}
            assert (source.kind, source.in_place, source.branch) == ("git", False, "main")
            assert source.commit == repository.git("rev-parse", "HEAD")
            kept = source.root
        assert not kept.exists()
    captured = desk.capture(bare)
    assert (captured.snapshot.dirty, captured.facts.on_remote, captured.facts.modified) == (False, True, ())
    assert captured.snapshot.tree == repository.git("rev-parse", "HEAD^{tree}")
    assert captured.snapshot.manifest == desk.capture(repository.path).snapshot.manifest


def test_versions(desk, bare, repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.git("tag", "-a", "v1", "-m", "one")
    second = repository.write(second="2").commit()
    repository.git("branch", "feature/x", first)
    repository.git("push", "--quiet", "--all", "origin")
    repository.git("push", "--quiet", "--tags", "origin")
    wanted = {None: second, "main": second, "v1": first, "feature/x": first, first: first, first[:7]: first,
              first.upper(): first, "main~1": first, "v1^{commit}": first, second[:4]: second}  # fmt: skip
    for uri in (bare, repository.path):
        for version, commit in wanted.items():
            if version is None and uri == repository.path:
                continue
            with desk.fetch(uri, version) as source:
                assert source.commit == commit, version
                assert source.in_place is False
                assert (source.root / "second").exists() == (commit == second)
                if version in ("main", "feature/x"):
                    assert source.branch == version


def test_a_branch_wins_over_a_tag_of_its_name(desk, bare, repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    second = repository.write(second="2").commit()
    repository.git("branch", "same", second)
    repository.git("tag", "same", first)
    repository.git("push", "--quiet", "origin", "refs/heads/same", "refs/tags/same")
    for uri in (bare, repository.path):
        with desk.fetch(uri, "same") as source:
            assert source.commit == second


def test_branches_move_and_a_known_commit_needs_no_network(desk, bare, repository) -> None:
    first = desk.capture(bare).facts.commit
    second = repository.write(second="2").commit()
    repository.git("push", "--quiet", "origin", "main")
    assert desk.capture(bare).facts.commit == second
    assert desk.capture(bare, "main").facts.commit == second
    repository.git("push", "--quiet", "--force", "origin", f"{first}:refs/heads/main")
    assert desk.capture(bare).facts.commit == first
    url = f"file://{bare}"
    desk.capture(url)
    shutil.move(bare, bare.with_name("away"))
    with pytest.raises(SourceError, match="there is nothing at"):
        desk.capture(url)


def test_a_commit_on_no_branch_is_asked_for_by_name(desk, bare, repository) -> None:
    commit = repository.write(x="1").commit()
    repository.git("push", "--quiet", "origin", f"{commit}:refs/changes/1")
    subprocess.run(["git", "config", "uploadpack.allowAnySHA1InWant", "true"], cwd=bare, check=True)
    assert desk.capture(bare, commit).facts.commit == commit


@pytest.mark.parametrize(
    "version", ["nothing", "0" * 40, "dead", "-x", "--upload-pack=touch x", "", "a\0b", "main:MLproject"]
)
def test_versions_that_are_none(desk, bare, repository, version: str) -> None:
    for uri in (bare, repository.path):
        with pytest.raises(SourceError) as caught, desk.fetch(uri, version):
            pass
        assert repr(version) in caught.value.message
        assert caught.value.hint


def test_a_misspelt_branch_is_told_the_near_ones(desk, bare) -> None:
    with pytest.raises(SourceError) as caught, desk.fetch(bare, "mian"):
        pass
    assert caught.value.hint == "there are: main"


def test_a_version_needs_a_repository(desk, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(SourceError, match="is not in a git repository"), desk.fetch(tmp_path / "plain", "main"):
        pass


def test_an_empty_repository_says_so(desk, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "empty.git"], check=True)
    with pytest.raises(SourceError, match="has no default branch: it is empty"), desk.fetch(tmp_path / "empty.git"):
        pass


def test_an_address_that_does_not_answer(desk) -> None:
    began = time.monotonic()
    for uri in ("http://127.0.0.1:9/x.git", "ssh://127.0.0.1:9/x.git", "127.0.0.1:9/x.git"):
        with pytest.raises(SourceError, match="cannot fetch") as caught, desk.fetch(uri):
            pass
        assert "git ls-remote" in caught.value.hint
    assert time.monotonic() - began < 20
    assert not [path for path in (desk.cache / "repositories").iterdir() if path.is_dir()]


def test_subdirectories(desk, bare, repository) -> None:
    (repository.path / "sub.dir").mkdir()
    (repository.path / "sub.dir" / "MLproject").write_text("name: inner\n")
    (repository.path / "out").symlink_to("/etc")
    repository.commit()
    repository.git("push", "--quiet", "origin", "main")
    for uri, version in ((bare, None), (repository.path, "main"), (repository.path, None)):
        with desk.fetch(f"{uri}#sub.dir", version) as source:
            assert (source.subdirectory, source.project.name) == ("sub.dir", "sub.dir")
            assert (source.project / "MLproject").read_text() == "name: inner\n"
        with (
            pytest.raises(SourceError, match="has no directory 'missing'") as caught,
            desk.fetch(f"{uri}#missing", version),
        ):
            pass
        assert "sub.dir" in caught.value.hint
        with (
            pytest.raises(SourceError, match="leaves the project by a symbolic link"),
            desk.fetch(f"{uri}#out", version),
        ):
            pass


def test_a_version_of_a_directory_below_the_top(desk, repository) -> None:
    (repository.path / "sub" / "inner").mkdir(parents=True)
    (repository.path / "sub" / "inner" / "x").write_text("")
    commit = repository.commit()
    with desk.fetch(f"{repository.path}/sub#inner", commit) as source:
        assert source.subdirectory == "sub/inner"
        assert names(source.project) == {"x"}


def test_submodules_at_their_commits_recursively(desk, new_repository, bare, repository) -> None:
    deep = new_repository("deep")
    deep_commit = deep.write(deep="1").commit()
    library = new_repository("library")
    library.git("submodule", "--quiet", "add", "../deep", "inner")
    library_commit = library.commit()
    repository.git("submodule", "--quiet", "add", str(library.path), "deps/lib")
    repository.commit()
    repository.git("push", "--quiet", "origin", "main")
    deep.write(deep="2").commit()
    for uri, version in ((bare, None), (repository.path, "main")):
        captured = desk.capture(uri, version)
        assert {"deps/lib/train.py", "deps/lib/inner/deep", "MLproject"} <= set(desk.entries(captured))
        assert desk.entries(captured)["deps/lib/inner/deep"].sha256 == sha256_of(b"1")
        found = {submodule.path: submodule.commit for submodule in captured.facts.submodules}
        assert found == {"deps/lib": library_commit, "deps/lib/inner": deep_commit}


def test_a_users_own_submodule_needs_no_network(desk, new_repository, repository) -> None:
    library = new_repository("library")
    repository.git("submodule", "--quiet", "add", str(library.path), "lib")
    commit = repository.commit()
    shutil.rmtree(library.path)
    assert "lib/train.py" in desk.entries(desk.capture(repository.path, commit))


def test_a_damaged_clone_is_made_anew(desk, bare, repository) -> None:
    commit = repository.git("rev-parse", "HEAD")
    clones = desk.cache / "repositories"

    def clone() -> Path:
        return next(path for path in clones.iterdir() if path.is_dir())

    def lose_objects() -> None:
        shutil.rmtree(clone() / "objects")
        (clone() / "objects").mkdir()

    def lose_a_blob() -> None:
        blob = repository.git("rev-parse", "HEAD:train.py")
        for pack in (clone() / "objects" / "pack").glob("*.pack"):
            data = pack.rename(clone() / "moved.pack").read_bytes()
            for index in (clone() / "objects" / "pack").glob("*"):
                index.unlink()
            subprocess.run(["git", "unpack-objects", "-q"], cwd=clone(), input=data, check=True)
        (clone() / "objects" / blob[:2] / blob[2:]).unlink()

    def lose_head() -> None:
        (clone() / "HEAD").write_text("")

    desk.capture(bare)
    for damage in (lose_objects, lose_a_blob, lose_head):
        damage()
        for version in (None, commit):
            assert set(desk.entries(desk.capture(bare, version))) == {"MLproject", "train.py"}, damage
        damage()
        assert set(desk.entries(desk.capture(bare, commit))) == {"MLproject", "train.py"}, damage


def test_many_at_once(desk, bare, repository) -> None:
    failures: list[Exception] = []

    def one(version: str | None) -> None:
        try:
            with desk.fetch(bare, version) as source:
                assert names(source.root) == {"MLproject", "train.py"}
        except Exception as error:  # noqa: BLE001  (shown by the assertion)
            failures.append(error)

    versions = [None, "main", repository.git("rev-parse", "HEAD")] * 4
    threads = [threading.Thread(target=one, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert not list((desk.cache / "trees").iterdir())


def test_trees_of_the_dead_are_swept_and_those_of_the_living_are_not(desk) -> None:
    with trees.temporary(desk.cache) as living:
        dead = desk.cache / "trees" / "dead"
        dead.mkdir()
        (dead / "x").write_text("")
        dead.with_suffix(".lock").touch()
        with trees.temporary(desk.cache):
            assert living.exists()
            assert not dead.exists()
    assert list((desk.cache / "trees").iterdir()) == []


def test_a_cache_that_cannot_be_written(repository, bare, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write to the cache"):
        with fetch(str(bare), version=None, caller=tmp_path, cache=tmp_path / "file" / "cache"):
            pass


class _Private(http.server.SimpleHTTPRequestHandler):
    """Serves files to ada, whose password is secret; remembers who asked."""

    asked: list[str | None]

    def do_GET(self) -> None:
        authorization = self.headers["Authorization"]
        self.asked.append(authorization)
        if authorization == "Basic " + base64.b64encode(b"ada:s3cr3t/@:").decode():
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path):
    (tmp_path / "www").mkdir()
    _Private.asked = []
    handler = partial(_Private, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_credentials_in_a_url_work_and_are_written_nowhere(desk, bare, server, tmp_path: Path, monkeypatch) -> None:
    shutil.move(bare, tmp_path / "www" / "project.git")
    subprocess.run(["git", "update-server-info"], cwd=tmp_path / "www" / "project.git", check=True)
    seen = tmp_path / "argv"
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {seen}\nexec {shutil.which("git")} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    told: list[str] = []
    with desk.fetch(f"http://ada:s3cr3t%2F%40%3A@{server}/project.git", say=told.append) as source:
        assert names(source.root) == {"MLproject", "train.py"}
        assert source.url == source.display == f"http://{server}/project.git"
    assert told[0] == f"fetching http://{server}/project.git"
    assert "fetch" in seen.read_text()
    written = b"".join(path.read_bytes() for path in desk.cache.rglob("*") if path.is_file())
    assert "s3cr3t" not in seen.read_text()
    assert b"s3cr3t" not in written
    for uri in (f"http://{server}/project.git", f"http://ada:wrong@{server}/project.git"):
        with pytest.raises(SourceError, match="cannot fetch") as caught, desk.fetch(uri):
            pass
        assert "wrong" not in caught.value.message + caught.value.hint


def test_lfs_files_come_from_beside_the_repository_and_else_stay_pointers(desk, repository, bare) -> None:
    data, missing = b"the bytes themselves", "0" * 64
    oid = sha256_of(data)
    form = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"
    repository.write(**{".gitattributes": "*.bin filter=lfs\n", "a.bin": form.format(oid, len(data))})
    repository.write(**{"b.bin": form.format(missing, 1)})
    (repository.path / "a.bin").chmod(0o755)
    commit = repository.commit()
    stored = repository.path / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
    stored.parent.mkdir(parents=True)
    stored.write_bytes(data)
    captured = desk.capture(repository.path, commit)
    assert desk.entries(captured)["a.bin"].sha256 == oid
    assert desk.entries(captured)["a.bin"].mode == "100755"
    (gap,) = captured.facts.gaps
    assert gap.field == "code.lfs"
    assert "b.bin" in gap.reason
    assert "a.bin" not in gap.reason
    stored.write_bytes(b"tampered")
    captured = desk.capture(repository.path, commit)
    assert desk.entries(captured)["a.bin"].sha256 == sha256_of(form.format(oid, len(data)).encode())


def test_a_version_of_a_linked_worktree(desk, repository, tmp_path: Path) -> None:
    repository.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "new").write_text("")
    subprocess.run(["git", "add", "new"], cwd=tmp_path / "side", check=True)
    subprocess.run(["git", "commit", "--quiet", "-m", "x"], cwd=tmp_path / "side", check=True)
    assert "new" in desk.entries(desk.capture(tmp_path / "side", "HEAD"))
    assert "new" not in desk.entries(desk.capture(repository.path, "HEAD"))


def test_a_damaged_clone_in_a_cache_inside_a_repository_harms_nobody(desk, bare, new_repository) -> None:
    around = new_repository("around")
    inner = type(desk)(around.path)
    inner.capture(bare)
    clone = next(path for path in (inner.cache / "repositories").iterdir() if path.is_dir())
    (clone / "HEAD").unlink()
    before = around.git("for-each-ref")
    assert set(inner.entries(inner.capture(bare))) == {"MLproject", "train.py"}
    assert around.git("for-each-ref") == before


def test_git_lfs_fetches_into_the_cache_and_nowhere_else(desk, repository, bare, home) -> None:
    need("git-lfs", shutil.which("git-lfs"), "git-lfs is not installed")
    data = os.urandom(5000)
    repository.git("lfs", "install", "--local")
    repository.git("lfs", "track", "*.bin")
    (repository.path / "a.bin").write_bytes(data)
    commit = repository.commit()
    repository.git("push", "--quiet", "origin", "main")
    shutil.rmtree(repository.path / ".git" / "lfs")
    for uri in (repository.path, f"file://{bare}"):
        captured = desk.capture(uri, commit)
        assert desk.entries(captured)["a.bin"].sha256 == sha256_of(data)
        assert (captured.facts.lfs, captured.facts.gaps) == (("a.bin",), ())
    assert not (repository.path / ".git" / "lfs").exists()
