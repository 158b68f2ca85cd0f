"""Every form a project's URI may have, and what each of the wrong ones is told."""

import zipfile
from pathlib import Path

import pytest

from runner.errors import SourceError
from runner.sources.uri import parse, strip_userinfo


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "project" / "sub.dir").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "project.ZIP", "w"):
        pass
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "kind", "subdirectory"),
    [
        (".", "directory", ""),
        ("project", "directory", ""),
        ("./project/", "directory", ""),
        ("project#sub.dir", "directory", "sub.dir"),
        ("project#./sub.dir/", "directory", "sub.dir"),
        ("project#a/../sub.dir", "directory", "sub.dir"),
        ("project#", "directory", ""),
        ("project.ZIP", "zip", ""),
        ("project.ZIP#a/b", "zip", "a/b"),
        ("https://example.org/team/project.git", "git", ""),
        ("https://example.org/team/project#a#b", "git", "a#b"),
        ("http://example.org:8080/project", "git", ""),
        ("https://example.org/a/project.zip#sub", "zip", "sub"),
        ("https://example.org/project.zip?raw=1", "zip", ""),
        ("ssh://git@example.org/team/project.git", "git", ""),
        ("git@example.org:team/project.git#sub", "git", "sub"),
        ("example.org:team/project.git", "git", ""),
        ("git://example.org/project", "git", ""),
    ],
)
def test_forms(here: Path, uri: str, kind: str, subdirectory: str) -> None:
    location = parse(uri, here)
    assert (location.kind, location.subdirectory) == (kind, subdirectory)
    assert (location.path is not None) == (not uri.startswith(("http", "ssh", "git", "example")))


def test_a_local_path_is_absolute_and_from_the_caller(here: Path) -> None:
    assert parse("project", here).path == here / "project"
    assert parse(str(here / "project"), Path("/")).path == here / "project"


@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}"])
def test_file_uris(here: Path, form: str) -> None:
    (here / "a b%").mkdir()
    assert parse(form.format(here / "a b%"), Path("/")).path == here / "a b%"  # as MLflow takes it
    assert parse(form.format(here / "a%20b%25") + "#s", Path("/")).path == here / "a b%"  # as RFC 8089 has it
    assert parse(form.format(here / "project.ZIP"), Path("/")).kind == "zip"


def test_a_bare_repository_is_git_wherever_it_is(here: Path) -> None:
    bare = here / "bare"
    for name in ("objects", "refs"):
        (bare / name).mkdir(parents=True)
    (bare / "HEAD").write_text("ref: refs/heads/main\n")
    assert parse("bare", here).kind == "git"
    assert parse(f"file://{bare}#sub", here).kind == "git"


def test_a_directory_with_a_hash_in_its_name(here: Path) -> None:
    (here / "run#1").mkdir()
    assert parse("run#1", here).path == here / "run#1"
    (here / "run").mkdir()
    assert parse("run#1", here).path == here / "run"  # the first # counts where both could be meant


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "the project's URI is empty"),
        ("#sub", "the project's URI is empty"),
        ("missing", "there is no directory 'missing'"),
        ("/missing/too", "there is no directory '/missing/too'"),
        ("./a:b", "there is no directory './a:b'"),
        ("missing.zip", "there is no directory 'missing.zip'"),
        ("~nobody/x", "there is no directory '~nobody/x'"),
        ("file:///missing", "there is nothing at 'file:///missing'"),
        ("file://elsewhere/tmp", "there is nothing at 'file://elsewhere/tmp'"),
        ("project/file.txt", "is a file, not a project"),
        ("project/dangling", "is a symbolic link to nothing, not a project"),
        ("project#../other", "the subdirectory '../other' leaves the project"),
        ("project#a/../../b", "leaves the project"),
        ("project#/etc", "leaves the project"),
        ("https://u:p@example.org/x#..", "the subdirectory '..' leaves the project"),
        ("--upload-pack=touch /tmp/x", "is not a project's URI"),
        ("-oProxyCommand=x:y", "is not a project's URI"),
        ("ext::sh -c evil", "is not a project's URI"),
        ("ssh://-oProxyCommand=evil/x", "names no host"),
        ("https:///nowhere", "names no host"),
        ("https://example.org:port/x", "names no host"),
        ("s3://bucket/project", "a project cannot be fetched by s3://"),
        ("ftp://u:p@example.org/project.git", "cannot be fetched by ftp://: 'ftp://example.org/project.git'"),
        ("a\0b", "NUL"),
    ],
)
def test_refused(here: Path, uri: str, message: str) -> None:
    (here / "project" / "file.txt").write_text("")
    (here / "project" / "dangling").symlink_to("nowhere")
    with pytest.raises(SourceError) as caught:
        parse(uri, here)
    assert message in caught.value.message
    assert caught.value.hint
    assert not caught.value.message.endswith(".")


@pytest.mark.parametrize(
    ("url", "stripped"),
    [
        ("https://ada:secret@example.org/x", "https://example.org/x"),
        ("https://token@example.org:8443/x@y", "https://example.org:8443/x@y"),
        ("https://a:p@ss@example.org/x", "https://example.org/x"),
        ("https://a:p?s#w@example.org/x", "https://example.org/x"),
        ("://a:p@example.org/x", "://example.org/x"),
        ("ssh://git@example.org/x", "ssh://example.org/x"),
        ("https://example.org/@scope/x", "https://example.org/@scope/x"),
        ("git@example.org:x", "git@example.org:x"),
        ("/home/a@b", "/home/a@b"),
        (
            "fatal: https://u:p@example.org/ and https://v@example.org/",
            "fatal: https://example.org/ and https://example.org/",
        ),
    ],
)
def test_userinfo_is_stripped(url: str, stripped: str) -> None:
    assert strip_userinfo(url) == stripped


def test_display_holds_no_credentials(tmp_path: Path) -> None:
    location = parse("https://ada:secret@example.org/x.git#s", tmp_path)
    assert location.address == "https://ada:secret@example.org/x.git"
    assert location.display == "https://example.org/x.git"
