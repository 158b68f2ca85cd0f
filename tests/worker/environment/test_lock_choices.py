"""Locks for other platforms, of single packages, as of a date; and an index that does not keep its word."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.environments.choice import Choice
from runner.environments.plan import plan
from runner.errors import EnvironmentBuildError, UsageError
from runner.worker.environment.interpreters import platforms
from runner.worker.environment.interpreters.platforms import Target
from runner.worker.environment.locks import project_lock, sent
from runner.worker.environment.uv import AS_OF
from runner.worker.hashing import sha256_of
from runner.worker.libc import libc
from runner.worker.spec import EnvironmentSpec
from tests.environments.index import Index, serving
from tests.environments.wheels import make_wheel

from .conftest import Host
from .test_locking import all_locked, planned, version_of

MACHINE = "dependencies: [red, \"green; platform_machine == 'aarch64'\"]\n"


@pytest.fixture
def project(host: Host) -> Path:
    make_wheel(host.wheels, "green")
    (host.project / "python_env.yaml").write_text(MACHINE)
    return host.project


@pytest.fixture
def index(host: Host) -> Iterator[Index]:
    with serving(host.wheels) as index:
        host.installer = {"UV_DEFAULT_INDEX": index.url}
        yield index


def names(path: Path) -> set[str]:
    return {line.split('"')[1] for line in path.read_text().splitlines() if line.startswith("name = ")}


def test_the_lock_of_another_platform_lies_beside(host: Host, project: Path) -> None:
    here, there, mac = (
        *all_locked(host),
        *all_locked(host, platforms=("linux-aarch64", "macos-arm64"), python="3.12"),
    )
    assert here.path.name == "pylock.mlrun.toml"
    assert there.path.name == "pylock.mlrun-linux-aarch64-py312.toml"
    assert mac.path.name == "pylock.mlrun-macosx-arm64-py312.toml"
    assert (there.python, there.platform, there.packages, mac.packages) == ("3.12", "linux-aarch64", 3, 2)
    assert (names(here.path), names(there.path)) == ({"red", "blue"}, {"red", "blue", "green"})


def test_the_lock_that_was_made_for_here_is_used_here(host: Host, project: Path) -> None:
    [there] = all_locked(host, platforms=("linux-aarch64",))
    text = there.path.read_text()
    here = planned(host).interpreter
    assert here is not None
    there.path.write_text(text.replace('"platform":"linux-aarch64"', f'"platform":"{here.platform}"'))
    (project / "pylock.mlrun.toml").write_text(text)  # the plain name is another machine's
    environment = planned(host)
    assert environment.lock_origin == "project"
    assert environment.lock == sha256_of(there.path.read_bytes())


def test_locking_again_brings_all_of_them_up_to_date(host: Host, project: Path) -> None:
    all_locked(host)
    all_locked(host, platforms=("linux-aarch64",))
    (project / "python_env.yaml").write_text(MACHINE.replace("red", "red, blue==2.0"))
    make_wheel(host.wheels, "blue", "2.0")
    done = all_locked(host)
    assert [one.path.name for one in done] == ["pylock.mlrun.toml", "pylock.mlrun-linux-aarch64-py311.toml"]
    assert all(one.changed and "2.0" in one.path.read_text() for one in done)
    assert not any(one.changed for one in all_locked(host))


def test_locks_follow_an_environment_file_that_is_renamed(host: Host, project: Path) -> None:
    all_locked(host)
    all_locked(host, platforms=("linux-aarch64",))
    make_wheel(host.wheels, "blue", "2.0")
    (project / "python_env.yaml").unlink()
    (project / "requirements.txt").write_text("red\ngreen\n")
    done = all_locked(host)
    assert [one.path.name for one in done] == ["pylock.mlrun.toml", "pylock.mlrun-linux-aarch64-py311.toml"]
    assert all("requirements.txt" in one.path.read_text() and '"2.0"' not in one.path.read_text() for one in done)
    assert len(list(project.glob("pylock.*"))) == len(done)


def test_no_lock_is_written_over_another_ones(host: Host, project: Path) -> None:
    wanted = plan(project, Choice(), caller_environ={}).spec
    here = Target("3.11.7", "linux-x86_64")
    names = []
    for source in ("a.yaml", "b.yaml", "b.yml", "./b.yml", "sub/b.c.yaml"):
        (project / source).parent.mkdir(exist_ok=True)
        (project / source).touch()
        one = replace(wanted, source=source, requirements=(*wanted.requirements, source.lstrip("./")))
        for target, host_ in ((here, True), (Target("3.12", "linux-aarch64"), False)):
            path = project_lock.place_for(project, one, target, host=host_)
            path.write_bytes(project_lock.with_header(b"", one, target))
            names.append(path.name)
    assert names == [
        *("pylock.mlrun.toml", "pylock.mlrun-linux-aarch64-py312.toml"),
        *("pylock.mlrun-b.toml", "pylock.mlrun-b-linux-aarch64-py312.toml"),
        *("pylock.mlrun-b-linux-x86_64-py311.toml", "pylock.mlrun-b-yml-linux-aarch64-py312.toml") * 2,
        *("pylock.mlrun-sub-b-c.toml", "pylock.mlrun-sub-b-c-linux-aarch64-py312.toml"),
    ]


def test_where_one_platform_cannot_be_locked_none_is_left_half_way(host: Host, project: Path) -> None:
    all_locked(host)
    all_locked(host, platforms=("linux-aarch64",))
    before = {path.name: path.read_bytes() for path in project.iterdir()}
    (project / "python_env.yaml").write_text(MACHINE.replace("red", "red, \"lost; platform_machine == 'aarch64'\""))
    with pytest.raises(EnvironmentBuildError, match=r"cannot be resolved for Python 3\S+ on linux-aarch64: .*lost"):
        all_locked(host)
    after = {path.name: path.read_bytes() for path in project.iterdir()}
    assert {**after, "python_env.yaml": before["python_env.yaml"]} == before


def test_a_new_platform_gets_the_versions_that_are_locked(host: Host, project: Path) -> None:
    all_locked(host)
    make_wheel(host.wheels, "blue", "2.0")
    [there] = all_locked(host, platforms=("linux-aarch64",))
    assert '"2.0"' not in there.path.read_text()


def test_a_damaged_lock_of_another_platform_is_told_by_check_and_hinders_nobody(host: Host, project: Path) -> None:
    [there] = all_locked(host, platforms=("linux-aarch64",))
    here = all_locked(host)[0]
    whole = there.path.read_bytes()
    there.path.write_text("<<<<<<< HEAD\n")
    assert planned(host).lock == sha256_of(here.path.read_bytes())
    wanted = plan(project, Choice(), caller_environ={"PIP_CONFIG_FILE": "/dev/null"}).spec
    with pytest.raises(EnvironmentBuildError, match=r"linux-aarch64-py311\.toml does not say what it is for") as caught:
        project_lock.expect_fresh(project, wanted)
    assert "mlrun lock --platform NAME" in caught.value.hint
    all_locked(host, platforms=("linux-aarch64",))
    assert there.path.read_bytes() == whole


def test_an_unknown_platform_is_told_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="'beos' is no platform") as caught:
        platforms.there("beos", "3.12")
    assert "linux-aarch64" in caught.value.hint
    assert platforms.there("x86_64-manylinux_2_28", "3.12") == Target("3.12", "linux-x86_64", "x86_64-manylinux_2_28")
    assert platforms.there("macosx-14.0-arm64", "3.12").triple == "aarch64-apple-darwin"
    assert platforms.same_platform("macosx-14.0-arm64", "macosx-26.1-arm64")
    assert not platforms.same_platform("macosx-14.0-arm64", "macosx-14.0-x86_64")


@pytest.mark.parametrize("version", ["", "3", "3.x", ">=3.9", "2.7", "pypy3.10", "3.13t", " 3.12"])
def test_a_python_that_no_lock_can_be_made_for_is_refused(host: Host, project: Path, version: str) -> None:
    with pytest.raises(UsageError, match="a version of CPython is expected"):
        all_locked(host, python=version)
    assert not list(project.glob("pylock.*"))


def test_one_package_is_renewed_and_the_others_stay(host: Host) -> None:
    (host.project / "python_env.yaml").write_text("dependencies: [red, green]\n")
    make_wheel(host.wheels, "green")
    planned(host)
    for name in ("red", "blue", "green"):
        make_wheel(host.wheels, name, "2.0", requires=("blue",) if name == "red" else ())
    environment = planned(host, upgrade_packages=("green",))
    assert [version_of(environment, name) for name in ("red", "blue", "green")] == ["1.0", "1.0", "2.0"]
    assert planned(host).reused  # and is remembered
    [lock] = all_locked(host)
    assert version_of(planned(host), "blue") == "2.0"  # a lock made from nothing has the newest
    make_wheel(host.wheels, "blue", "3.0")
    make_wheel(host.wheels, "red", "3.0", requires=("blue",))
    all_locked(host, upgrade_packages=("blue",))
    environment = planned(host)
    assert environment.lock_origin == "project"
    assert [version_of(environment, name) for name in ("red", "blue")] == ["2.0", "3.0"]
    with pytest.raises(EnvironmentBuildError, match="--upgrade orange: no such package is among the 3"):
        planned(host, upgrade_packages=("orange",))
    assert lock.path.exists()


def test_as_of_a_date_only_what_was_there_is_taken(host: Host, index: Index) -> None:
    newer = make_wheel(host.wheels, "blue", "2.0")
    index.uploaded[newer.name] = "2025-03-01T00:00:00Z"
    assert version_of(host.prepare("red"), "blue") == "2.0"
    host.installer["UV_EXCLUDE_NEWER"] = "2025-01-01T00:00:00Z"
    assert version_of(host.prepare("red"), "blue") == "1.0"


def test_an_index_without_upload_times_is_told(host: Host, index: Index) -> None:
    host.installer["UV_EXCLUDE_NEWER"] = "2025-01-01T00:00:00Z"
    with pytest.raises(EnvironmentBuildError, match=r"cannot be resolved as of 2025-01-01T00:00:00Z: ") as caught:
        host.prepare("red")
    assert "an index that tells no upload times" in caught.value.hint


def test_a_run_without_a_lock_is_repeated_as_of_its_day(host: Host, index: Index) -> None:
    newer = make_wheel(host.wheels, "blue", "2.0")
    index.uploaded[newer.name] = "2025-03-01T00:00:00Z"
    host.installer[AS_OF] = "2025-01-01T00:00:00Z"
    environment = host.prepare("red")
    assert version_of(environment, "blue") == "1.0"
    [gap] = environment.gaps
    assert (gap.field, gap.reason.endswith("resolved as of 2025-01-01T00:00:00Z")) == ("environment.lock", True)


def test_where_the_index_tells_no_times_it_is_as_of_today_and_a_gap(host: Host, index: Index) -> None:
    host.installer[AS_OF] = "2025-01-01T00:00:00Z"
    environment = host.prepare("red")
    assert version_of(environment, "blue") == "1.0"
    assert any("resolved as of today" in line for line in host.said)
    assert "resolved as of today" in environment.gaps[0].reason


def test_an_index_that_sends_other_bytes_than_were_locked_is_refused(
    host: Host, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = host.spec("blue")
    first = host.carry_out(spec)
    other = make_wheel(tmp_path / "other", "blue", text="EVIL = True")
    index.lies[other.name] = other.read_bytes()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cold"))
    with pytest.raises(EnvironmentBuildError, match="Hash mismatch for `blue==1") as caught:
        host.carry_out(replace(first.pin(spec), environment=replace(first.pin(spec).environment, manager="uv")))
    assert "not the one that was locked" in caught.value.hint
    assert len(list(host.cache.glob("envs/*/*/pyvenv.cfg"))) == 1


def test_an_index_that_tells_another_hash_than_it_sends_is_refused(
    host: Host, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.claims["blue-1.0-py3-none-any.whl"] = "5" * 64
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cold"))
    with pytest.raises(EnvironmentBuildError, match="Hash mismatch"):
        host.prepare("blue")
    assert not list(host.cache.glob("envs/*/*/"))


def test_an_index_that_wants_a_login_says_so(host: Host, index: Index) -> None:
    index.login = "ada:s3cret"
    with pytest.raises(EnvironmentBuildError, match="the index refused the login") as caught:
        host.prepare("blue")
    assert "pip.conf" in caught.value.hint
    host.installer["UV_DEFAULT_INDEX"] = index.url.replace("://", "://ada:s3cret@")
    assert host.names(host.prepare("blue")) == {"blue"}


def lock_of(*wheels: str) -> bytes:
    lines = [
        f'  {{ name = "{wheel}", url = "https://h/{wheel}", hashes = {{ sha256 = "{"0" * 64}" }} }},'
        for wheel in wheels
    ]
    return "\n".join(
        ['lock-version = "1.0"', "[[packages]]", 'name = "red"', 'version = "1.0"', "wheels = [", *lines, "]"]
    ).encode()


@pytest.mark.parametrize(
    ("tags", "libc", "fits"),
    [
        (["any"], "", True),
        (["manylinux_2_28_x86_64"], "glibc 2.36", True),
        (["manylinux_2_28_x86_64"], "glibc 2.17", False),
        (["manylinux_2_28_x86_64", "manylinux_2_17_x86_64.manylinux2014_x86_64"], "glibc 2.17", True),
        (["manylinux2014_x86_64"], "glibc 2.12", False),
        (["manylinux1_x86_64"], "glibc 2.12", True),
        (["manylinux2010_x86_64"], "", False),
        (["musllinux_1_2_x86_64"], "", True),
        (["musllinux_1_2_x86_64"], "glibc 2.36", False),
        (["linux_x86_64"], "glibc 2.36", True),
        (["macosx_11_0_arm64"], "", True),
        ([], "", True),  # from its source alone
    ],
)
def test_wheels_are_for_one_c_library(tags: list[str], libc: str, fits: bool) -> None:
    lock = lock_of(*(f"red-1.0-cp311-cp311-{tag}.whl" for tag in tags))
    assert sent.strangers(lock, libc) == (() if fits else ("red",))


def test_a_lock_that_came_with_the_run_is_not_used_with_another_c_library(host: Host, tmp_path: Path) -> None:
    made = host.prepare("blue")
    assert made.lock is not None
    assert made.interpreter is not None
    text = host.objects.read(made.lock).decode()
    other = host.objects.add(text.replace("py3-none-any", "py3-none-manylinux_2_99_x86_64").encode())
    good_for = sent.slug(made.interpreter, libc())

    def placed(cache: str, lock: str) -> dict[str, Any]:
        return {"cache": str(tmp_path / cache), "locks": {good_for: lock}}

    assert host.prepare("blue", placed=placed("one", made.lock)).lock == made.lock
    assert "the lock of the machine that sent the run is used" in host.said
    assert host.prepare("blue", placed=placed("two", other)).lock == made.lock
    assert f"the lock that came with the run has no blue for {libc()}: another one is made" in host.said
    pinned = {"interpreter": made.interpreter, "lock": other}
    assert host.prepare("blue", placed={**placed("three", other), "lenient": True}, **pinned).lock == made.lock
    assert f"the recorded lock has no blue for {libc()}: another one is made" in host.said
    with pytest.raises(EnvironmentBuildError):
        host.prepare("blue", placed=placed("four", other), **pinned)


def test_a_variable_in_a_line_is_part_of_what_a_lock_answers(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("1.0", "2.0"):
        make_wheel(host.root / version, "green", version)
    line = f"green @ {host.root.as_uri()}/${{MLRUN_TEST}}/green-${{MLRUN_TEST}}-py3-none-any.whl"
    for version in ("1.0", "2.0", "1.0"):
        monkeypatch.setenv("MLRUN_TEST", version)
        assert version_of(host.prepare(line), "green") == version
    assert not any(said.startswith("resolving") for said in host.said)  # the first lock is known still


def test_only_its_own_lock_names_the_python_of_an_environment(host: Host, project: Path) -> None:
    all_locked(host)
    here = planned(host).interpreter
    assert here is not None
    mine, other = (EnvironmentSpec("virtualenv", name) for name in ("python_env.yaml", "other.yaml"))
    assert project_lock.series_for(project, mine, here.platform) == ".".join(here.version.split(".")[:2])
    assert project_lock.series_for(project, other, here.platform) is None
