"""Lock files: read, made portable, made installable."""

from pathlib import Path

import pytest

from runner.errors import EnvironmentBuildError
from runner.worker.environment.cache.installed import packages
from runner.worker.environment.locks import pylock
from runner.worker.facts import Package
from runner.worker.spec import Interpreter

_LOCK = b"""lock-version = "1.0"
created-by = "uv"

[[packages]]
name = "Foo_Bar"
version = "1.0"
sdist = { url = "https://ada:pw@files.invalid/foo_bar-1.0.tar.gz", hashes = { sha256 = "aa" } }
wheels = [
  { url = "https://files.invalid/foo_bar-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", hashes = { sha256 = "bb" } },
  { url = "https://files.invalid/foo_bar-1.0-cp310-cp310-manylinux_2_17_x86_64.whl", hashes = { sha256 = "cc" } },
  { url = "https://files.invalid/foo_bar-1.0-cp311-cp311-macosx_11_0_arm64.whl", hashes = { sha256 = "dd" } },
]

[[packages]]
name = "mine"
directory = { path = "/home/ada/p", editable = true }

[[packages]]
name = "vcs"
version = "2"
vcs = { type = "git", url = "https://tok@git.invalid/a.git", commit-id = "c0ffee" }

[tool.other]
x = 1
"""
_LINUX = Interpreter("/p", "3.11.7", "cpython", "cpython-311", "cpython-311-x86_64-linux-gnu", "", "linux-x86_64", "")


def test_read() -> None:
    foo, mine, vcs = pylock.read(_LOCK)
    assert (foo.name, foo.version, [one.sha256 for one in foo.artifacts]) == (
        "foo-bar",
        "1.0",
        ["bb", "cc", "dd", "aa"],
    )
    assert (mine.directory, mine.editable) == ("/home/ada/p", True)
    assert vcs.commit == "c0ffee"


def test_possible_archives_are_those_of_the_interpreter() -> None:
    foo = pylock.read(_LOCK)[0]
    assert [one.sha256 for one in pylock.possible(foo, _LINUX)] == ["bb"]


@pytest.mark.parametrize(
    ("file", "fits"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-py2.py3-none-any.whl", True),
        ("a-1-py2-none-any.whl", False),
        ("a-1-cp38-abi3-manylinux_2_17_x86_64.whl", True),
        ("a-1-cp312-abi3-manylinux_2_17_x86_64.whl", False),
        ("a-1-1build-cp311-cp311-linux_x86_64.whl", True),
        ("a-1-cp311-cp311-manylinux_2_17_aarch64.whl", False),
        ("a-1-py3-none-musllinux_1_1_x86_64.whl", True),
        ("a-1-cp311-cp311-win_amd64.whl", False),
        ("a-1-py38-none-any.whl", True),
    ],
)
def test_tags(file: str, fits: bool) -> None:
    one, other = pylock.Artifact(file, None, "a"), pylock.Artifact("a-1.tar.gz", None, "b")
    chosen = pylock.possible(pylock.Locked("a", "1", (one, other)), _LINUX)
    assert (one in chosen) is fits


def test_portable_has_no_credentials_and_no_place() -> None:
    text = pylock.portable(_LOCK, Path("/home/ada/p"))
    assert b"pw" not in text
    assert b"tok@" not in text
    assert b'path = "."' in text
    assert b"/home/ada" not in text


def test_portable_names_wheels_of_the_project_by_path(tmp_path: Path) -> None:
    project = tmp_path / "a project"
    lock = f'wheels = [{{ url = "{(project / "w" / "x.whl").as_uri()}", hashes = {{}} }}]'.encode()
    assert pylock.portable(lock, project) == b'wheels = [{ path = "w/x.whl", hashes = {} }]'


def test_installable_leaves_out_what_is_local_and_keeps_the_rest() -> None:
    text = pylock.installable(_LOCK, Path("/q"))
    assert [one.name for one in pylock.read(text)] == ["foo-bar", "vcs"]
    assert b"[tool.other]" in text


def test_installable_names_archives_by_their_place_here() -> None:
    lock = (
        b'lock-version = "1.0"\n[[packages]]\nname = "a"\narchive = { path = "w/a.zip", hashes = { sha256 = "0" } }\n'
    )
    assert b'path = "/q/w/a.zip"' in pylock.installable(lock, Path("/q"))


def test_nothing_to_install_is_nothing() -> None:
    assert pylock.installable(pylock.EMPTY, Path("/q")) == b""
    assert (
        pylock.installable(pylock.portable(_LOCK.split(b'[[packages]]\nname = "Foo')[0], Path("/q")), Path("/q")) == b""
    )


@pytest.mark.parametrize(
    "lock",
    [
        b"",
        b"nonsense",
        b'lock-version = "2.0"\n',
        b'lock-version = "1.0"\npackages = 3\n',
        b'lock-version = "1.0"\n[[packages]]\nversion = "1"\n',
        b'lock-version = "1.0"\n[[packages]]\nname = "a"\nwheels = [{ url = "https://h/a-1-py3-none-any.whl" }]\n',
    ],
)
def test_what_is_no_lock_is_refused(lock: bytes) -> None:
    with pytest.raises(EnvironmentBuildError):
        pylock.read(lock)


def test_the_version_that_is_installed_is_the_one_that_is_named(tmp_path: Path) -> None:
    info = tmp_path / "lib" / "python3.11" / "site-packages" / "a-2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: A\nVersion: 2\n")
    (info / "WHEEL").write_text("Tag: py3-none-any\n")
    lock = [
        pylock.Locked("a", version, (pylock.Artifact(f"a-{version}-py3-none-any.whl", None, version * 2),))
        for version in ("2", "1")
    ]
    assert packages(tmp_path, lock) == (Package("A", "2", ("22",)),)


def test_a_lock_serves_a_whole_series(tmp_path):
    lock = b'lock-version = "1.0"\nrequires-python = ">=3.11.7"\n\n[[packages]]\nname = "a"\nversion = "1"\n'
    assert b'requires-python = ">=3.11"\n' in pylock.installable(lock, tmp_path)
    other = lock.replace(b">=3.11.7", b">=3.12,<4")
    assert b'requires-python = ">=3.12,<4"\n' in pylock.installable(other, tmp_path)


def test_a_lock_is_told_the_index_of_each_package_that_has_one() -> None:
    digest = "0" * 64
    wheel = f'{{ url = "https://host/a.whl", hashes = {{ sha256 = "{digest}" }} }}'
    lock = f"""lock-version = "1.0"
[[packages]]
name = "told"
index = "https://own"
wheels = [{wheel}]

[[packages]]
name = "untold"
wheels = [{wheel}]

[[packages]]
name = "direct"
archive = {wheel}

[[packages]]
name = "repository"
[packages.vcs]
url = "https://host/a.git"
commit-id = "{"1" * 40}"

[[packages]]
name = "here"
wheels = [{{ path = "a.whl", hashes = {{ sha256 = "{digest}" }} }}]

[tool.other]
url = "https://host"
"""
    told = pylock.attributed(lock.encode(), lambda address: f"{address}/simple").decode()
    new = '[[packages]]\nindex = "https://host/a.whl/simple"\nname = "untold"'
    assert told == lock.replace('[[packages]]\nname = "untold"', new)
