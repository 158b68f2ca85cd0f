"""What a snapshot holds of a work tree: the files as they are, and what git says of them."""

import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from runner.sources.snapshot import take
from runner.worker.hashing import sha256_of_file
from runner.worker.objects import Objects
from runner.worker.stat_cache import StatCache
from tests.needs import need


def reasons(captured, field: str) -> str:
    return "\n".join(gap.reason for gap in captured.facts.gaps if gap.field == field)


def test_a_clean_repository(desk, repository) -> None:
    captured = desk.capture(repository.path)
    facts, snapshot = captured.facts, captured.snapshot
    assert set(desk.entries(captured)) == {"MLproject", "train.py"}
    assert snapshot.kind == "git"
    assert snapshot.commit == facts.commit == repository.git("rev-parse", "HEAD")
    assert snapshot.tree == facts.tree == repository.git("rev-parse", "HEAD^{tree}")
    assert snapshot.dirty is facts.dirty is False
    assert facts.branch == "main"
    assert facts.describe == repository.git("describe", "--always")
    assert facts.on_remote is False
    assert (facts.modified, facts.untracked, facts.patch, facts.gaps) == ((), (), None, ())
    assert facts.root == str(repository.path)
    assert (facts.files, facts.bytes) == (2, 11 + len("name: demo\n") + len("print('hello')\n") - 11)
    assert facts.project_file == "MLproject"
    assert facts.project_file_sha256 == sha256_of_file(repository.path / "MLproject")


def test_a_dirty_tree_comes_back_bit_for_bit(desk, repository, tmp_path: Path) -> None:
    repository.write(gone="1", staged="1", binary="x").commit()
    repository.write(**{"train.py": "print('edited')\n", "staged": "2", "new file": "untracked"})
    (repository.path / "binary").write_bytes(bytes(range(256)) * 20)
    (repository.path / "gone").unlink()
    repository.git("add", "staged")
    repository.write(staged="3", added="4")
    repository.git("add", "added")
    captured = desk.capture(repository.path)
    assert captured.facts.dirty is True
    assert captured.facts.modified == ("added", "binary", "gone", "staged", "train.py")
    assert captured.facts.untracked == ("new file",)
    made = desk.again(captured, tmp_path / "again")
    for path in made.iterdir():
        assert path.read_bytes() == (repository.path / path.name).read_bytes()
    assert {path.name for path in made.iterdir()} == {path.name for path in repository.path.iterdir()} - {".git"}


def test_the_patch_makes_the_tracked_files_out_of_the_commit(desk, repository, tmp_path: Path) -> None:
    for key, value in {
        "diff.noprefix": "true",
        "color.ui": "always",
        "diff.external": "false",
        "diff.context": "0",
    }.items():
        repository.git("config", key, value)
    repository.write(gone="1").commit()
    repository.write(**{"train.py": "print('edited')\n"})
    (repository.path / "data.bin").write_bytes(os.urandom(5000))
    (repository.path / "gone").unlink()
    (repository.path / "MLproject").chmod(0o755)
    repository.git("add", "data.bin")
    captured = desk.capture(repository.path)
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "--quiet", repository.path, other], check=True)
    subprocess.run(["git", "apply", "-"], cwd=other, input=desk.objects.read(captured.facts.patch), check=True)
    status = {path.name: (path.read_bytes(), path.stat().st_mode) for path in other.iterdir() if path.name != ".git"}
    assert status == {
        path.name: (path.read_bytes(), path.stat().st_mode) for path in repository.path.iterdir() if path.name != ".git"
    }


def test_links_and_executables(desk, repository, tmp_path: Path) -> None:
    (repository.path / "run.sh").write_text("#!/bin/sh\n")
    (repository.path / "run.sh").chmod(0o744)
    (repository.path / "link").symlink_to("train.py")
    (repository.path / "dangling").symlink_to("/nowhere")
    (repository.path / "data").mkdir()
    (repository.path / "to-data").symlink_to("data")
    captured = desk.capture(repository.path)
    modes = {path: entry.mode for path, entry in desk.entries(captured).items()}
    assert modes == {
        "MLproject": "100644", "train.py": "100644", "run.sh": "100755",
        "link": "120000", "dangling": "120000", "to-data": "120000",
    }  # fmt: skip
    made = desk.again(captured, tmp_path / "again")
    assert str((made / "dangling").readlink()) == "/nowhere"
    assert os.access(made / "run.sh", os.X_OK)


@pytest.mark.parametrize("tracked", [True, False])
def test_names_of_any_bytes(desk, repository, tmp_path: Path, tracked: bool) -> None:
    names = [
        b"new\nline",
        b"tab\there",
        b'quo"te',
        b"back\\slash",
        b"latin-\xe9",
        b" ",
        b"-n",
        b":(top)x",
        b"\xff\xfe",
        "é".encode(),
    ]
    for name in names:
        (repository.path / os.fsdecode(name)).write_bytes(name)
    if tracked:
        repository.commit()
    captured = desk.capture(repository.path)
    made = desk.again(captured, tmp_path / "again")
    assert {os.fsencode(path.name) for path in made.iterdir()} == {*names, b"MLproject", b"train.py"}
    assert all((made / os.fsdecode(name)).read_bytes() == name for name in names)


@pytest.mark.parametrize(
    "name", ["with space", "quo'te\"", "new\nline", os.fsdecode(b"latin-\xe9"), "-dash", "a#b", "${HOME}"]
)
def test_projects_in_directories_of_any_name(desk, new_repository, name: str) -> None:
    repository = new_repository(f"x/{name}")
    (repository.path / "inner").mkdir()
    (repository.path / "inner" / "MLproject").write_text("")
    captured = desk.capture(repository.path)
    assert captured.facts.root == str(repository.path)
    assert captured.facts.dirty is True
    inner = desk.capture(repository.path / "inner")
    assert inner.snapshot.subdirectory == "inner"
    assert inner.snapshot.manifest == captured.snapshot.manifest


def test_a_project_below_the_top_brings_the_whole_repository(desk, repository) -> None:
    inner = repository.path / "experiments" / "first"
    inner.mkdir(parents=True)
    (inner / "MLproject").write_text("name: inner\n")
    repository.write(**{"common.py": "x = 1\n"})
    with desk.fetch(inner) as source:
        assert (source.root, source.project, source.subdirectory) == (repository.path, inner, "experiments/first")
        assert source.in_place is True
    captured = desk.capture(f"{repository.path}#experiments/first")
    assert captured.snapshot.subdirectory == captured.facts.subdirectory == "experiments/first"
    assert set(desk.entries(captured)) == {"MLproject", "train.py", "common.py", "experiments/first/MLproject"}
    assert captured.facts.project_file_sha256 == sha256_of_file(inner / "MLproject")


def test_declared_outputs_ignored_files_and_tools_own_directories_stay_out(desk, repository) -> None:
    repository.write(**{".gitignore": "*.log\n", "tracked.csv": "1"})
    repository.commit()
    for name in ("a.log", "out/model.bin", "new.csv", "mlruns/0/meta.yaml", "__pycache__/x.pyc", "venv/pyvenv.cfg",
                 "venv/lib/x.py", "sub/node_modules/y.js", "store/objects/1", "keep/x.py"):  # fmt: skip
        path = repository.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    captured = desk.capture(repository.path, outputs=["out", "*.csv"], skip=[repository.path / "store"])
    assert set(desk.entries(captured)) == {"MLproject", "train.py", ".gitignore", "tracked.csv", "keep/x.py"}
    assert captured.facts.untracked == ("keep/x.py",)


def test_outputs_are_relative_to_the_project(desk, repository) -> None:
    (repository.path / "sub").mkdir()
    for name in ("a.csv", "sub/a.csv", "sub/keep.txt"):
        (repository.path / name).write_text(name)
    captured = desk.capture(repository.path / "sub", outputs=["*.csv", "../b.csv"])
    assert set(desk.entries(captured)) == {"MLproject", "train.py", "a.csv", "sub/keep.txt"}
    assert "a.csv" not in desk.entries(desk.capture(repository.path / "sub", outputs=["../a.csv"]))


def test_only_outputs_untracked_is_not_dirty(desk, repository) -> None:
    repository.write(result="1")
    assert desk.capture(repository.path, outputs=["result"]).facts.dirty is False


def test_an_ignored_project_file_is_captured_all_the_same(desk, new_repository) -> None:
    repository = new_repository(commit=False).write(**{".gitignore": "mlproject\n", "mlproject": "name: x\n"})
    repository.commit()
    captured = desk.capture(repository.path)
    assert set(desk.entries(captured)) == {".gitignore", "mlproject"}
    assert captured.facts.project_file == "mlproject"


def test_without_a_commit(desk, new_repository) -> None:
    repository = new_repository(commit=False).write(staged="1", other="2")
    repository.git("add", "staged")
    captured = desk.capture(repository.path)
    assert set(desk.entries(captured)) == {"staged", "other"}
    facts = captured.facts
    assert (facts.kind, facts.commit, facts.branch, facts.dirty) == ("git", None, "main", True)
    assert (facts.modified, facts.untracked) == (("staged",), ("other",))
    assert "no commit yet" in reasons(captured, "code.commit")


def test_an_empty_repository_and_an_empty_directory(desk, new_repository, tmp_path: Path) -> None:
    assert desk.capture(new_repository(commit=False).path).facts.files == 0
    (tmp_path / "empty").mkdir()
    captured = desk.capture(tmp_path / "empty")
    assert (captured.snapshot.kind, captured.facts.files) == ("empty", 0)
    assert desk.entries(captured) == {}


def test_a_detached_head(desk, repository) -> None:
    repository.git("checkout", "--quiet", "--detach")
    facts = desk.capture(repository.path).facts
    assert (facts.branch, facts.commit) == (None, repository.git("rev-parse", "HEAD"))


def test_a_linked_worktree(desk, repository, tmp_path: Path) -> None:
    repository.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    captured = desk.capture(tmp_path / "side")
    assert (captured.facts.branch, captured.facts.root) == ("side", str(tmp_path / "side"))
    assert set(desk.entries(captured)) == {"MLproject", "train.py"}


def test_a_shallow_clone(desk, repository, new_repository, tmp_path: Path) -> None:
    repository.write(x="1").commit()
    path = tmp_path / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{repository.path}", path], check=True)
    facts = desk.capture(path).facts
    assert facts.commit == repository.git("rev-parse", "HEAD")
    assert facts.on_remote is True


def test_a_sparse_checkout(desk, repository) -> None:
    for name in ("in", "out"):
        (repository.path / name).mkdir()
        (repository.path / name / "x").write_text(name)
    repository.commit()
    repository.git("sparse-checkout", "set", "in")
    captured = desk.capture(repository.path)
    assert set(desk.entries(captured)) == {"MLproject", "train.py", "in/x"}
    assert captured.facts.dirty is False
    assert "1 tracked files are not in the work tree" in reasons(captured, "code.snapshot")


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_changes_hidden_from_git_are_seen(desk, repository, flag: str) -> None:
    repository.git("update-index", flag, "train.py")
    assert desk.capture(repository.path).facts.dirty is False
    repository.write(**{"train.py": "print('secretly different')\n"})
    captured = desk.capture(repository.path)
    assert captured.facts.modified == ("train.py",)
    assert captured.facts.dirty is captured.snapshot.dirty is True
    assert "train.py" in reasons(captured, "code.patch")
    assert desk.entries(captured)["train.py"].sha256 == sha256_of_file(repository.path / "train.py")


def test_remotes(desk, repository, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "init", "--quiet", "--bare", bare], check=True)
    repository.git("remote", "add", "origin", str(bare))
    repository.git("push", "--quiet", "origin", "main")
    assert desk.capture(repository.path).facts.on_remote is True
    repository.git("remote", "set-url", "origin", "https://ada:secret@example.org/demo.git")
    repository.git("tag", "v1.0")
    repository.write(y="1").commit()
    facts = desk.capture(repository.path).facts
    assert facts.on_remote is False
    assert facts.url == "https://example.org/demo.git"
    assert re.fullmatch(r"v1\.0-1-g[0-9a-f]+", facts.describe)
    repository.git("tag", "-a", "v1.1", "-m", "x")
    assert desk.capture(repository.path).facts.describe == "v1.1"  # what was remembered does not outlive a new tag


def test_the_branchs_own_remote_counts_first(desk, repository) -> None:
    for name in ("origin", "fork"):
        repository.git("remote", "add", name, f"https://example.org/{name}.git")
    assert desk.capture(repository.path).facts.url == "https://example.org/origin.git"
    repository.git("config", "branch.main.remote", "fork")
    assert desk.capture(repository.path).facts.url == "https://example.org/fork.git"


def test_files_above_the_cap_are_named_by_digest_only(desk, repository) -> None:
    repository.write(big="x" * 2000, tracked_big="x").commit()
    repository.write(big="y" * 2000, tracked_big="z" * 3000, small="1", **{"train.py": "edited"})
    for _ in range(2):
        captured = desk.capture(repository.path, size_cap=1000)
        assert captured.facts.not_stored == ("big", "tracked_big")
        entry = desk.entries(captured)["big"]
        assert entry.sha256 == sha256_of_file(repository.path / "big")
        assert not desk.objects.has(entry.sha256)
        assert desk.objects.has(desk.entries(captured)["small"].sha256)
        patch = desk.objects.read(captured.facts.patch)
        assert b"+edited" in patch
        assert b"yyyy" not in patch
        assert "above the size cap" in reasons(captured, "code.patch")


def test_a_fresh_tree_is_stored_whole_whatever_its_size(desk, repository) -> None:
    commit = repository.write(big="x" * 2000).commit()
    captured = desk.capture(repository.path, commit, size_cap=1000)
    assert captured.facts.not_stored == ()
    assert desk.objects.has(desk.entries(captured)["big"].sha256)


def test_a_directory_without_git(desk, tmp_path: Path) -> None:
    root = tmp_path / "plain"
    for name in (
        "MLproject",
        "src/x.py",
        "venv/pyvenv.cfg",
        "venv/bin/python",
        "src/__pycache__/x.pyc",
        "mlruns/a",
        "out/r",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    captured = desk.capture(root, outputs=["out"])
    assert set(desk.entries(captured)) == {"MLproject", "src/x.py"}
    facts = captured.facts
    assert (facts.kind, facts.commit, facts.dirty, facts.untracked) == ("directory", None, None, ())
    sub = desk.capture(f"{root}#src")
    assert (sub.snapshot.subdirectory, sub.facts.root) == ("src", str(root))


def test_pipes_sockets_and_their_like_are_left_out_with_a_word(desk, tmp_path: Path, monkeypatch) -> None:
    root = tmp_path / "plain"
    root.mkdir()
    (root / "x").write_text("")
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    captured = desk.capture(root)
    assert set(desk.entries(captured)) == {"x"}
    assert "'pipe': a named pipe" in reasons(captured, "code.snapshot")
    assert "'socket': a socket" in reasons(captured, "code.snapshot")


def test_a_tracked_file_that_became_a_pipe_a_directory_or_lies_behind_a_link(desk, repository, tmp_path: Path) -> None:
    for name in ("a", "d"):
        (repository.path / name).mkdir()
        (repository.path / name / "x").write_text("1")
    repository.write(p="1", f="1").commit()
    for name in ("a/x", "p", "f", "d/x"):
        (repository.path / name).unlink()
    (repository.path / "a").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_text("not of this repository")
    (repository.path / "a").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(repository.path / "p")
    (repository.path / "f").mkdir()
    (repository.path / "f" / "inner").write_text("1")
    captured = desk.capture(repository.path)
    assert set(desk.entries(captured)) == {"MLproject", "train.py", "a", "f/inner"}
    desk.again(captured, tmp_path / "again")


@pytest.mark.parametrize("is_git", [False, True])
def test_what_cannot_be_read_is_a_gap(desk, new_repository, tmp_path: Path, is_git: bool) -> None:
    root = tmp_path / "repo"
    if is_git:
        new_repository().git("rm", "-q", "MLproject", "train.py")
        (root / ".git").chmod(0o755)
    (root / "closed").mkdir(parents=True)
    (root / "closed" / "x").write_text("")
    (root / "secret").write_text("x")
    (root / "open").write_text("x")
    for path in (root / "closed", root / "secret"):
        path.chmod(0)
    desk.home.chmod(0o777)
    for path in (root, tmp_path, *tmp_path.parents):
        if not path.stat().st_mode & 0o001:
            path.chmod(0o711 if path != root else 0o755)
    if os.getuid() == 0:  # root reads everything: somebody else has to look, at what is theirs
        subprocess.run(["chown", "-R", "65534", root], check=True)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            os.environ["HOME"] = str(desk.home)
            captured = desk.capture(root)
            answer = [captured.facts.kind, str(captured.facts.files), *(gap.reason for gap in captured.facts.gaps)]
            os.write(writer, "|".join(answer).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    (root / "closed").chmod(0o700)
    with os.fdopen(reader) as stream:
        kind, files, *gaps = stream.read().split("|")
    assert (kind, files) == ("git" if is_git else "directory", "1")
    assert "'closed" in gaps[0]
    assert all("Permission denied" in gap for gap in gaps[:2])
    assert "left out 'secret': Permission denied" in gaps


def test_another_users_repository_is_a_plain_directory_and_a_gap(desk, repository) -> None:
    need("root", os.getuid() == 0, "only root can give files away")
    subprocess.run(["chown", "-R", "12345", repository.path], check=True)
    captured = desk.capture(repository.path)
    assert set(desk.entries(captured)) == {"MLproject", "train.py"}
    assert (captured.snapshot.kind, captured.snapshot.commit) == ("directory", None)
    assert "safe.directory" in reasons(captured, "code.commit")


def test_a_broken_repository_is_a_plain_directory_and_a_gap(desk, repository) -> None:
    (repository.path / ".git" / "config").write_text("[core\n")
    captured = desk.capture(repository.path)
    assert set(desk.entries(captured)) == {"MLproject", "train.py"}
    assert "git refuses: bad config line 1" in reasons(captured, "code.commit")


def test_without_git_on_the_machine(desk, repository, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    captured = desk.capture(repository.path)
    assert set(desk.entries(captured)) == {"MLproject", "train.py"}
    assert "git is not installed" in reasons(captured, "code.commit")


def test_a_directory_that_the_repository_around_it_ignores(desk, repository) -> None:
    repository.write(**{".gitignore": "/scratch/\n"}).commit()
    (repository.path / "scratch").mkdir()
    (repository.path / "scratch" / "MLproject").write_text("")
    captured = desk.capture(repository.path / "scratch")
    assert set(desk.entries(captured)) == {"MLproject"}
    assert captured.snapshot.kind == "directory"
    assert "ignores it" in reasons(captured, "code.commit")


def test_a_home_directory_under_git_does_not_swallow_its_projects(desk, new_repository, monkeypatch) -> None:
    home = new_repository("home")
    monkeypatch.setenv("HOME", str(home.path))
    home.write(private="of no concern")
    (home.path / "project").mkdir()
    (home.path / "project" / "MLproject").write_text("")
    captured = desk.capture(home.path / "project")
    assert set(desk.entries(captured)) == {"MLproject"}


def test_submodules_bring_their_files(desk, repository, new_repository) -> None:
    library = new_repository("library").write(lib="1")
    first = library.commit()
    repository.git("submodule", "--quiet", "add", str(library.path), "deps/lib")
    repository.commit()
    captured = desk.capture(repository.path)
    assert {"deps/lib/lib", "deps/lib/train.py", ".gitmodules"} <= set(desk.entries(captured))
    assert captured.facts.dirty is False
    (submodule,) = captured.facts.submodules
    assert (submodule.path, submodule.commit, submodule.url) == ("deps/lib", first, str(library.path))
    inner = repository.path / "deps" / "lib"
    (inner / "lib").write_text("2")
    (inner / "new").write_text("3")
    captured = desk.capture(repository.path)
    assert (captured.facts.modified, captured.facts.untracked) == (("deps/lib/lib",), ("deps/lib/new",))
    assert captured.facts.dirty is True
    subprocess.run(["git", "commit", "-qam", "second"], cwd=inner, check=True)
    captured = desk.capture(repository.path)
    assert captured.facts.modified == ("deps/lib",)
    assert captured.facts.submodules[0].commit != first


def test_a_submodule_that_is_not_checked_out_is_a_gap(desk, repository, new_repository) -> None:
    repository.git("submodule", "--quiet", "add", str(new_repository("library").path), "lib")
    repository.commit()
    repository.git("submodule", "deinit", "--quiet", "lib")
    captured = desk.capture(repository.path)
    assert "'lib' is not checked out" in reasons(captured, "code.submodules")
    assert captured.facts.submodules[0].path == "lib"


def test_a_nested_repository_is_taken_by_its_files(desk, repository, new_repository) -> None:
    nested = new_repository("repo/vendor/tool")
    nested.write(**{".gitignore": "*.log\n", "x.log": "", "own": "1"})
    nested_head = nested.git("rev-parse", "HEAD")
    captured = desk.capture(repository.path)
    assert set(desk.entries(captured)) == {
        "MLproject", "train.py", "vendor/tool/MLproject", "vendor/tool/train.py", "vendor/tool/.gitignore",
        "vendor/tool/own",
    }  # fmt: skip
    assert "vendor/tool/train.py" in captured.facts.untracked
    assert f"at commit {nested_head[:12]}" in reasons(captured, "code.untracked")


def test_merge_conflicts(desk, repository) -> None:
    repository.git("checkout", "--quiet", "-b", "side")
    repository.write(**{"train.py": "side\n"}).commit()
    repository.git("checkout", "--quiet", "main")
    repository.write(**{"train.py": "main\n"}).commit()
    subprocess.run(["git", "merge", "side"], cwd=repository.path, capture_output=True, check=False)
    captured = desk.capture(repository.path)
    assert captured.facts.modified == ("train.py",)
    assert desk.objects.read(desk.entries(captured)["train.py"].sha256).startswith(b"<<<<<<<")


def test_the_environment_of_a_git_hook_does_not_mislead(desk, repository, new_repository, monkeypatch) -> None:
    other = new_repository("other").write(other="1")
    other.commit()
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git" / "index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.path))
    captured = desk.capture(repository.path)
    assert captured.facts.root == str(repository.path)
    assert set(desk.entries(captured)) == {"MLproject", "train.py"}


def test_a_sha256_repository(desk, new_repository) -> None:
    repository = new_repository("sha256", "--object-format=sha256")
    assert len(desk.capture(repository.path).snapshot.commit) == 64
    unborn = new_repository("unborn", "--object-format=sha256", commit=False).write(x="1")
    assert set(desk.entries(desk.capture(unborn.path))) == {"x"}


def test_an_unchanged_tree_is_not_read_again(desk, repository) -> None:
    time.sleep(0.15)  # younger files are not trusted to stay
    first = desk.capture(repository.path)
    for path in repository.path.iterdir():
        if path.is_file():
            path.rename(path.with_name("moved")).rename(path)  # the ctime changes, the bytes do not
    assert desk.capture(repository.path).snapshot == first.snapshot

    class Unreadable(StatCache):
        def learn(self, *args: object, **options: object) -> None:
            pytest.fail("a file was read")

    time.sleep(0.15)
    desk.capture(repository.path)
    with desk.fetch(repository.path) as source:
        assert take(source, desk.objects, Unreadable(desk.home / "stat.sqlite")).snapshot == first.snapshot


def test_an_edit_with_a_restored_mtime_is_seen(desk, repository) -> None:
    time.sleep(0.15)
    first = desk.capture(repository.path)
    path = repository.path / "train.py"
    status = path.stat()
    path.write_text("print('jello')\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = desk.capture(repository.path)
    assert second.snapshot.manifest != first.snapshot.manifest


def test_the_manifest_comes_last_and_a_cut_object_is_made_whole(desk, repository) -> None:
    repository.write(more="1")
    first = desk.capture(repository.path)
    sha256 = desk.entries(first)["train.py"].sha256
    manifest = desk.objects.path(first.snapshot.manifest)
    cut = desk.objects.path(sha256)
    cut.chmod(0o600)
    cut.write_bytes(b"")  # as a crash leaves it; the manifest had not been written
    manifest.unlink()
    second = desk.capture(repository.path)
    assert second.snapshot == first.snapshot
    assert desk.objects.read(sha256) == b"print('hello')\n"


def test_no_space_left_leaves_no_manifest(desk, repository, monkeypatch) -> None:
    import errno

    from runner.errors import StoreError

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Objects, "_settle", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        desk.capture(repository.path)
    assert "mlrun gc" in caught.value.hint
    assert not [path for path in desk.objects.root.rglob("*") if path.is_file()]


def test_lfs_pointers_are_named(desk, repository) -> None:
    repository.write(**{".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12\n"
    repository.write(**{"a.bin": pointer, "b.bin": "the bytes themselves"}).commit()
    captured = desk.capture(repository.path)
    assert captured.facts.lfs == ("a.bin", "b.bin")
    assert "a.bin" in reasons(captured, "code.lfs")
    assert "b.bin" not in reasons(captured, "code.lfs")
