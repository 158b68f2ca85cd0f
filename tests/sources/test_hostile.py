"""Repositories that mean harm: none of their programs runs, and nothing of the user's changes."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from runner.errors import SourceError


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a mark when it runs; it also answers as a filter does."""
    mark = tmp_path / "it-ran"
    program = tmp_path / "trap.sh"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >> {mark}\ncat\n')
    program.chmod(0o755)
    return program


def ran(trap: Path) -> bool:
    return (trap.parent / "it-ran").exists()


@pytest.fixture
def hostile(repository, trap: Path):
    """A repository whose configuration, hooks and attributes name programs at every place git knows."""
    repository.write(**{".gitattributes": "* filter=evil diff=evil\n", "data": "1"}).commit()
    for name in [path.name for path in (repository.path / ".git" / "hooks").iterdir()]:
        (repository.path / ".git" / "hooks" / name.removesuffix(".sample")).write_text(trap.read_text())
        (repository.path / ".git" / "hooks" / name.removesuffix(".sample")).chmod(0o755)
    programs = """core.fsmonitor core.sshCommand core.pager core.editor core.askPass core.gitProxy
        core.alternateRefsCommand diff.external diff.evil.textconv diff.evil.command filter.evil.clean
        filter.evil.smudge filter.with.dots=and=equals.clean filter.evil2.process uploadpack.packObjectsHook
        gpg.program pager.diff pager.status pager.ls-files pager.config interactive.diffFilter
        trailer.x.command merge.evil.driver sequence.editor remote.origin.uploadpack"""
    aliases = ["alias.diff-index", "alias.status", "alias.ls-files", "submodule.x.update", "credential.helper"]
    settings = {
        **dict.fromkeys(programs.split(), str(trap)),
        **dict.fromkeys(aliases, f"!{trap}"),
        "core.hooksPath": str(repository.path / ".git" / "hooks"),
        "filter.evil.required": "true",
        "submodule.recurse": "true",
        "remote.origin.url": f"ext::{trap}",
    }
    for key, value in settings.items():
        repository.git("config", "--add", key, str(value))
    (repository.path / ".git" / "info" / "attributes").write_text(
        "*.py filter=with.dots=and=equals\n*.txt filter=evil2\n"
    )
    (trap.parent / "it-ran").unlink(missing_ok=True)
    return repository


def test_capturing_a_hostile_repository_runs_nothing(desk, hostile, trap) -> None:
    (hostile.path / "data").touch()  # makes git look at the content
    hostile.write(**{"train.py": "edited\n", "new.txt": "x"})
    captured = desk.capture(hostile.path)
    assert captured.facts.modified == ("train.py",)
    assert b"+edited" in desk.objects.read(captured.facts.patch)
    assert not ran(trap)


def test_a_version_of_a_hostile_repository_runs_nothing(desk, hostile, trap) -> None:
    captured = desk.capture(hostile.path, "main")
    assert set(desk.entries(captured)) == {"MLproject", "train.py", ".gitattributes", "data"}
    assert not ran(trap)


def test_cloning_a_hostile_repository_runs_nothing(desk, hostile, trap, tmp_path: Path) -> None:
    (hostile.path / ".git").rename(tmp_path / "bare.git")
    subprocess.run(["git", "config", "core.bare", "true"], cwd=tmp_path / "bare.git", check=True)
    captured = desk.capture(tmp_path / "bare.git")
    assert set(desk.entries(captured)) == {"MLproject", "train.py", ".gitattributes", "data"}
    assert not ran(trap)


def test_the_trap_would_have_worked(hostile, trap) -> None:
    (hostile.path / "data").touch()
    subprocess.run(["git", "status"], cwd=hostile.path, capture_output=True, check=False)
    assert ran(trap)


def test_a_required_filter_of_the_users_own_does_not_run_either(desk, repository, trap, home) -> None:
    subprocess.run(["git", "config", "--global", "filter.own.smudge", str(trap)], check=True)
    subprocess.run(["git", "config", "--global", "filter.own.required", "true"], check=True)
    repository.write(**{".gitattributes": "* filter=own\n"})
    repository.git("-c", "filter.own.required=false", "add", "-A")
    repository.git("-c", "filter.own.required=false", "commit", "-qm", "x")
    desk.capture(repository.path, "main")
    assert not ran(trap)


def test_the_configuration_of_who_fetches_does_not_change_the_bytes(desk, repository, home) -> None:
    commit = repository.write(
        **{"x.txt": "a\nb\n", ".gitattributes": "*.crlf text eol=crlf\n", "y.crlf": "a\nb\n"}
    ).commit()
    first = desk.capture(repository.path, commit)
    for key, value in {
        "core.autocrlf": "true",
        "core.eol": "crlf",
        "core.fileMode": "false",
        "core.symlinks": "false",
    }.items():
        subprocess.run(["git", "config", "--global", key, value], check=True)
    assert desk.capture(repository.path, commit).snapshot.manifest == first.snapshot.manifest
    assert desk.objects.read(desk.entries(first)["y.crlf"].sha256) == b"a\r\nb\r\n"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("--upload-pack=touch {mark}", "an address that git must not be given"),
        ("ext::touch {mark}", "an address that git must not be given"),
        ("ext://touch {mark}", "an address that git must not be given"),
        ("ssh://-oProxyCommand=touch {mark}/x", "an address that git must not be given"),
        ("-oProxyCommand=touch {mark}:x", "an address that git must not be given"),
        ("fd::0/x", "an address that git must not be given"),
    ],
)
def test_submodule_addresses(desk, new_repository, repository, tmp_path: Path, url: str, message: str) -> None:
    repository.git("submodule", "--quiet", "add", str(new_repository("library").path), "lib")
    mark = tmp_path / "mark"
    repository.git("config", "--file", ".gitmodules", "submodule.lib.url", url.format(mark=mark))
    commit = repository.commit()
    repository.git("config", "--unset", "submodule.lib.url")
    (repository.path / ".git" / "modules").rename(repository.path / ".git" / "nowhere")
    with pytest.raises(SourceError, match=message), desk.fetch(repository.path, commit):
        pass
    assert not mark.exists()


def test_relative_and_forbidden_submodule_addresses() -> None:
    from runner.sources.checkout import _resolved

    assert _resolved("../b.git", "https://example.org/team/a.git", "x") == "https://example.org/team/b.git"
    assert _resolved("./b", "https://u:p@example.org/team/a/", "x") == "https://u:p@example.org/team/a/b"
    assert _resolved("../../b", "git@example.org:team/a", "x") == "git@example.org:b"
    assert _resolved("../b", "git@example.org:a", "x") == "git@example.org:b"
    assert _resolved("../b", "/srv/git/a", "x") == "/srv/git/b"
    assert _resolved("../b", "file:///srv/git/a", "x") == "file:///srv/git/b"
    assert _resolved("git@example.org:b", "/srv/git/a", "x") == "git@example.org:b"
    for url in ("file:///home/ada/secret", "/home/ada/secret", "FILE:///x"):
        with pytest.raises(SourceError, match="points into this machine"):
            _resolved(url, "https://example.org/a", "x")


def state(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything of a tree that a write could change, but access times."""
    found = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[str(path.relative_to(root))] = (
            content,
            status.st_mode,
            status.st_ino,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
    return found


@pytest.mark.parametrize("version", [None, "side", "HEAD~1"])
def test_nothing_of_the_users_changes(desk, repository, new_repository, version: str | None) -> None:
    repository.write(stashed="1").commit()
    repository.git("submodule", "--quiet", "add", str(new_repository("library").path), "lib")
    repository.commit()
    repository.write(stashed="2")
    repository.git("stash")
    repository.git("branch", "side")
    for key in ("core.untrackedCache", "feature.manyFiles", "fetch.writeCommitGraph", "gc.writeCommitGraph"):
        repository.git("config", key, "true")
    repository.git("update-index", "--untracked-cache")
    repository.write(staged="1", untracked="2", **{"train.py": "edited\n"})
    repository.git("add", "staged")
    os.utime(repository.path / "MLproject", (1_000_000_000, 1_000_000_000))  # git would refresh its index for this one
    (repository.path / "lib" / "train.py").write_text("edited too\n")
    before = state(repository.path)
    desk.capture(repository.path, version)
    assert state(repository.path) == before
    repository.git("status")
    assert state(repository.path) != before  # the test can tell: git itself refreshes
