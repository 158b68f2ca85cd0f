"""conda environments, prepared by a real py-rattler from a channel made by hand."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from runner.backends.packing import pack
from runner.errors import EnvironmentBuildError
from runner.worker.codec import encode
from runner.worker.environment.conda import lockfile
from tests.conda.channel import HERE, PREFIX
from tests.conda.conftest import CondaHost
from tests.needs import python
from tests.worker.environment.test_shelf import _PREPARE


def test_packages_are_solved_locked_and_installed(host: CondaHost) -> None:
    channel = host.channel
    channel.python()
    module = channel.module("green")
    channel.package("native", "2.0", {"bin/native": f"#!/bin/sh\necho {PREFIX}/share\n"})
    found = host.conda("python>=3.8,<4", "green=1.0", "native")
    assert host.run(found, "import green; print(green.VERSION)") == "1.0"
    assert subprocess.check_output([f"{found.bin}/native"], text=True) == f"{found.prefix}/share\n"
    assert {one.name for one in found.packages} == {"python", "green", "native"}
    [green] = [one for one in found.packages if one.name == "green"]
    assert green.url == module.as_uri()
    lock = lockfile.read(host.objects.read(found.lock))
    assert {one.sha256 for one in lock.packages} == {sha for one in found.packages for sha in one.sha256}
    assert found.variables["CONDA_PREFIX"] == found.prefix
    assert (found.kind, found.lock_origin, found.reused) == ("conda", "resolved", False)
    meta = json.loads(Path(found.prefix, "conda-meta", "green-1.0-0.json").read_text())
    assert meta["url"] == module.as_uri()
    assert "extracted" not in json.dumps(meta["extracted_package_dir"])
    again = host.conda("python>=3.8,<4", "green=1.0", "native")
    assert (again.reused, again.prefix, again.lock_origin) == (True, found.prefix, "cache")
    assert host.said == []


def test_a_newer_package_does_not_drift_in_until_asked_for(host: CondaHost) -> None:
    host.channel.package("native", "1.0", {"share/n": "1"})
    first = host.conda("native")
    host.channel.package("native", "2.0", {"share/n": "2"})
    assert host.conda("native").prefix == first.prefix
    newer = host.conda("native", placed={"upgrade": True})
    assert [one.version for one in newer.packages] == ["2.0"]
    assert newer.key != first.key


def test_the_pinned_lock_is_installed_again_from_its_archives(host: CondaHost) -> None:
    channel = host.channel
    channel.python()
    channel.module("green")
    first = host.conda("python", "green")
    channel.module("green", "2.0")
    host.cache.rename(host.root / "old-cache")
    host.cache.mkdir()
    (host.cache / "tools").symlink_to(host.root / "old-cache" / "tools")
    again = host.conda("python", "green", lock=first.lock)
    assert (again.lock, again.lock_origin, again.reused) == (first.lock, "pinned", False)
    assert again.installed_digest == first.installed_digest
    assert again.packages == first.packages


def test_the_pip_part_is_locked_by_uv_beside_what_channels_bring(host: CondaHost) -> None:
    channel = host.channel
    channel.python()
    channel.module("blue", "7.0")  # red, a wheel, requires blue, of which the wheel is 1.0
    found = host.conda("python", "blue", pip=("red",))
    assert host.run(found, "import blue, red; print(blue.VERSION, red.VERSION)") == "7.0 1.0"
    assert [(one.name, one.version) for one in found.packages if one.name in ("red", "blue")] == [
        ("blue", "7.0"),
        ("red", "1.0"),
    ]
    lock = lockfile.read(host.objects.read(found.lock))
    assert [one.name for one in lock.pip_packages] == ["red"]
    assert all(one.sha256 for one in found.packages)
    assert "uv" in found.installed_by


def test_pip_replaces_what_its_lines_exclude(host: CondaHost) -> None:
    channel = host.channel
    channel.python()
    channel.module("blue", "7.0")
    found = host.conda("python", "blue", pip=("blue<2",))
    assert host.run(found, "import blue; print(blue.VERSION)") == "1.0"


def test_python_is_added_where_only_the_pip_part_needs_it(host: CondaHost) -> None:
    host.channel.python()
    found = host.conda(pip=("blue",))
    assert {one.name for one in found.packages} == {"python", "blue"}


def test_an_environment_without_python(host: CondaHost) -> None:
    host.channel.package("native", files={"bin/native": "#!/bin/sh\n"})
    found = host.conda("native")
    assert found.interpreter is None
    assert host.conda("native").reused


def test_a_channel_named_for_one_package_is_the_one_it_is_from(host: CondaHost) -> None:
    from tests.conda.channel import Channel

    other = Channel(host.root / "other")
    other.package("native", "1.0", {"share/from": "other"})
    host.channel.package("native", "1.0", {"share/from": "channel"})
    found = host.conda(f"{other.url}::native", channels=(host.channel.url, other.url))
    assert Path(found.prefix, "share", "from").read_text() == "other"
    found = host.conda(f"{other.url}/{HERE}::native", channels=(host.channel.url, other.url))
    assert Path(found.prefix, "share", "from").read_text() == "other"


def test_an_environment_of_nothing(host: CondaHost) -> None:
    found = host.conda()
    assert (found.packages, found.interpreter) == ((), None)
    assert host.conda().reused


@pytest.mark.parametrize(("priority", "version"), [("strict", "1.0"), ("flexible", "1.0"), ("disabled", "2.0")])
def test_the_priority_of_channels(host: CondaHost, priority: str, version: str) -> None:
    from tests.conda.channel import Channel

    Channel(host.root / "later").package("native", "2.0")
    host.channel.package("native", "1.0")
    channels = (host.channel.url, (host.root / "later").as_uri())
    found = host.conda("native", channels=channels, channel_priority=priority)
    assert [one.version for one in found.packages] == [version]


def test_what_the_host_does_not_have_is_told(host: CondaHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.channel.package("needy", depends=["__glibc >=99"])
    with pytest.raises(EnvironmentBuildError, match="__glibc") as caught:
        host.conda("needy")
    assert "CONDA_OVERRIDE_GLIBC and the like pretend" in caught.value.hint
    monkeypatch.setenv("CONDA_OVERRIDE_GLIBC", "100")
    found = host.conda("needy")
    assert [one.name for one in found.packages] == ["needy"]
    lock = lockfile.read(host.objects.read(found.lock))
    assert "__glibc=100=0" in lock.virtual
    monkeypatch.delenv("CONDA_OVERRIDE_GLIBC")
    Path(found.prefix, "conda-meta", "needy-1.0-0.json").unlink()
    with pytest.raises(EnvironmentBuildError, match=r"needy 1\.0 needs __glibc >=99, and this host has __glibc 2\."):
        host.conda("needy", lock=found.lock)


@pytest.mark.parametrize(
    ("package", "words", "hint"),
    [
        ("nowhere", "nowhere", "exclude each other"),
        ("native>9", "native", "exclude each other"),
        ("__nosuch", "__nosuch", "use a host that has it"),
        ("native===", "is no conda package", "name=version"),
    ],
)
def test_what_cannot_be_solved_is_told_in_one_line(host: CondaHost, package: str, words: str, hint: str) -> None:
    host.channel.package("native")
    with pytest.raises(EnvironmentBuildError) as caught:
        host.conda(package)
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("line", "words", "hint"),
    [
        ("nosuch==9", "you require nosuch==9", "check the names and versions in "),
        ("-e git+file:///nowhere#egg=x", "Git sources cannot be editable", "leave out the `-e`"),
        ("--no-deps", ": --no-deps", "change the requirement lines that uv names"),
    ],
)
def test_what_the_pip_part_lacks_is_told_as_for_any_lock(host: CondaHost, line: str, words: str, hint: str) -> None:
    host.channel.python()
    with pytest.raises(EnvironmentBuildError, match=r"^the pip part of conda\.yaml cannot be resolved: ") as caught:
        host.conda("python", pip=(line,))
    assert words in caught.value.message
    assert caught.value.hint.startswith(hint)


def test_a_channel_that_is_not_there(host: CondaHost) -> None:
    with pytest.raises(EnvironmentBuildError) as caught:
        host.conda("native", channels=((host.root / "403" / "nowhere").as_uri(),))
    assert "\n" not in caught.value.message
    assert "nowhere" in caught.value.message
    assert "check the channels' addresses" in caught.value.hint


def test_a_script_that_ran_on_installation_is_a_gap(host: CondaHost) -> None:
    script = 'echo done > "$PREFIX/share-made"\n'
    host.channel.package("noisy", files={"bin/.noisy-post-link.sh": script, "share/x": "x"})
    found = host.conda("noisy")
    assert Path(found.prefix, "share-made").exists()
    assert [gap.field for gap in found.gaps] == ["environment.packages.noisy"]


def test_a_script_that_fails_on_installation_ends_the_build(host: CondaHost) -> None:
    host.channel.package("noisy", files={"bin/.noisy-post-link.sh": b"#!/bin/sh\nexit 3\n", "share/x": b"x"})
    with pytest.raises(EnvironmentBuildError) as caught:
        host.conda("noisy")
    assert ".noisy-post-link.sh, which noisy runs when it is installed, failed" in caught.value.message
    assert "what the script needs" in caught.value.hint
    assert not any(Path(host.placement.cache, "envs").glob("*/environment.json"))


def test_it_travels_to_a_host_that_has_an_old_python_alone(host: CondaHost, tmp_path: Path) -> None:
    channel = host.channel
    channel.python()
    channel.module("green")
    spec = host.asked("python", "green", pip=("red",))
    data = {
        "root": str(host.root),
        "spec": spec.to_json(),
        "placement": encode(replace(host.placement, python=None)),
        "installer": host.installer,
    }
    words = [python("3.9"), "-S", "-E", "-c", _PREPARE, json.dumps([str(pack(tmp_path / "packed"))]), json.dumps(data)]
    done = subprocess.run([*words, "0"], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    prefix, reused = done.stdout.split()
    assert reused == "False"
    code = "import green, red; print(green.VERSION, red.VERSION)"
    assert subprocess.check_output([f"{prefix}/bin/python", "-c", code], text=True).split() == ["1.0", "1.0"]
    assert host.carry_out(spec).prefix == prefix
