"""uv for other machines, fetched by the real pip from indexes that are what indexes can be."""

import os
import zipfile

import pytest

from runner.backends.ssh.foreign import fetch
from runner.backends.ssh.seed import fetched_uvs
from runner.errors import EnvironmentBuildError, IntegrityError, MlrunError
from runner.worker.environment.uv import version_of
from runner.worker.hashing import sha256_of_file
from runner.worker.remote.kit import Machine
from tests.environments.index import serving
from tests.environments.wheels import make_uv_wheel

ARM = Machine("Linux", "aarch64", "2.36")
WHEELS = {  # as uv's makers name them
    "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64": b"arm",
    "manylinux_2_17_x86_64.manylinux2014_x86_64": b"for glibc",
    "musllinux_1_1_x86_64": b"static",
    "musllinux_1_1_i686": b"old",
    "manylinux_2_31_riscv64": b"risc",
    "macosx_10_12_x86_64": b"intel",
    "macosx_11_0_arm64": b"apple",
    "linux_armv6l": b"raspberry",
}


class Near:
    """This machine: its uv, its cache, its index."""

    def __init__(self, uv, cache, index):
        self.uv, self.cache, self.index = uv, cache, index
        self.own = sha256_of_file(uv)
        self.version = version_of(uv).split()[1]

    def has(self, tag, program=b"uv", **fields):
        return make_uv_wheel(self.index.wheels, self.version, tag, program, **fields)

    def fetched(self, machine):
        fetch(self.uv, self.own, machine, self.cache)
        return {family: path for _, family, path in fetched_uvs(self.cache, self.own)}[machine.family]

    def refusal(self, machine=ARM):
        with pytest.raises(MlrunError) as caught:
            self.fetched(machine)
        assert list((self.cache / "downloads" / "uv").iterdir()) == []
        return caught.value


@pytest.fixture
def near(tmp_path, lab, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_INDEX"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with serving(tmp_path / "wheels") as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        yield Near(lab.launch().uv or _uv(), tmp_path / "cache", index)


def _uv():
    import uv

    return uv.find_uv_bin()


@pytest.mark.parametrize(
    ("machine", "program"),
    [
        (ARM, b"arm"),
        (Machine("Linux", "aarch64", ""), b"arm"),
        (Machine("Linux", "x86_64", "2.17"), b"static"),
        (Machine("Linux", "x86_64", ""), b"static"),
        (Machine("Linux", "i386", ""), b"old"),
        (Machine("Linux", "armv6l", "2.36"), b"raspberry"),
        (Machine("Linux", "riscv64", "2.36"), b"risc"),
        (Machine("Darwin", "arm64", "23.5.0"), b"apple"),
        (Machine("Darwin", "x86_64", "19.6.0"), b"intel"),
    ],
)
def test_a_machine_gets_the_uv_that_runs_there(near, machine, program):
    for tag, content in WHEELS.items():
        near.has(tag, content)
    path = near.fetched(machine)
    assert path.read_bytes() == program
    assert os.access(path, os.X_OK)
    assert [one.name for one in path.parent.iterdir()] == ["uv"]


@pytest.mark.parametrize(
    "machine",
    [
        Machine("Linux", "riscv64", "2.30"),  # its C library is too old
        Machine("Linux", "riscv64", ""),
        Machine("Darwin", "x86_64", "15.6.0"),
        Machine("Linux", "sparc64", "2.36"),
        Machine("FreeBSD", "amd64", ""),
    ],
)
def test_no_wheel_for_a_machine_is_said(near, machine):
    for tag, content in WHEELS.items():
        near.has(tag, content)
    error = near.refusal(machine)
    assert isinstance(error, EnvironmentBuildError)
    assert machine.family in error.message


def test_another_version_is_none(near):
    make_uv_wheel(near.index.wheels, "9999.0", "musllinux_1_1_aarch64", b"uv")
    near.index.wheels.joinpath("x").touch()
    assert f"No matching distribution found for uv=={near.version}" in near.refusal().message


@pytest.mark.parametrize("listed", [b"other", b"uv and more", b"u", b""])
def test_a_program_that_the_wheel_does_not_list_is_refused(near, listed):
    near.has("musllinux_1_1_aarch64", b"uv", listed=listed)
    error = near.refusal()
    assert isinstance(error, IntegrityError)
    assert "its uv is not the one that it lists" in error.message


def test_bytes_that_the_index_does_not_promise_are_refused(near):
    near.index.claims[near.has("musllinux_1_1_aarch64").name] = "0" * 64
    assert isinstance(near.refusal(), EnvironmentBuildError)


@pytest.mark.parametrize("member", ["uv-{}.data/scripts/uv", "uv-{}.dist-info/RECORD"])
def test_a_wheel_without_uv_is_refused(near, member):
    path = near.has("musllinux_1_1_aarch64")
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist() if name != member.format(near.version)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    error = near.refusal()
    assert isinstance(error, IntegrityError)
    assert "holds no uv" in error.message


def test_a_login_stands_in_variables_and_is_said_nowhere(near, monkeypatch):
    near.has("musllinux_1_1_aarch64")
    near.index.login = "ada:s3cr%t"
    assert f"{near.index.url}/uv/: 401 Client Error: Unauthorized" in near.refusal().message
    monkeypatch.setenv("PIP_INDEX_URL", near.index.url.replace("://", "://ada:wrong@"))
    error = near.refusal()
    assert f"{near.index.url}/uv/: 401" in error.message
    assert "wrong" not in error.message
    monkeypatch.setenv("PIP_INDEX_URL", near.index.url.replace("://", "://ada:s3cr%25t@"))
    assert near.fetched(ARM).read_bytes() == b"uv"


def test_a_login_of_uvs_own_variables_will_do(near, monkeypatch):
    near.has("musllinux_1_1_aarch64")
    near.index.login = "ada:s3cr%t"
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"my-own={near.index.url}")
    monkeypatch.setenv("UV_INDEX_MY_OWN_USERNAME", "ada")
    monkeypatch.setenv("UV_INDEX_MY_OWN_PASSWORD", "s3cr%t")
    assert near.fetched(ARM).read_bytes() == b"uv"


def test_the_users_constraints_are_not_for_it(near, monkeypatch, tmp_path):
    near.has("musllinux_1_1_aarch64")
    (tmp_path / "constraints.txt").write_text("uv<0.1\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "constraints.txt"))
    assert near.fetched(ARM).read_bytes() == b"uv"


@pytest.mark.parametrize(
    ("machine", "begins", "processor"),
    [
        (ARM, b"\x7fELF\x02\x01", b"\xb7\x00"),  # at byte 18
        (Machine("Linux", "ppc64le", "2.28"), b"\x7fELF\x02\x01", b"\x15\x00"),
        (Machine("Darwin", "arm64", "23.5.0"), b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01", None),
    ],
)
def test_what_uvs_makers_publish_is_for_the_machine(tmp_path, machine, begins, processor):
    """From the index that this machine is set up with, under the names that the wheels have there."""
    uv = _uv()
    own = sha256_of_file(uv)
    fetch(uv, own, machine, tmp_path)
    ((_, family, path),) = fetched_uvs(tmp_path, own)
    head = path.read_bytes()[:20]
    assert family == machine.family
    assert head.startswith(begins)
    assert processor in (None, head[18:])


def test_an_index_that_does_not_answer_is_named_as_the_reason(near, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    assert "http://127.0.0.1:9/simple/uv/: Connection refused" in near.refusal().message


def test_without_an_index_there_is_none(near, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert f"uv {near.version} cannot be fetched for linux-aarch64" in near.refusal().message


def test_a_uv_that_is_replaced_is_not_stood_in_for_any_more(near, tmp_path):
    near.has("musllinux_1_1_aarch64")
    near.fetched(ARM)
    assert list(fetched_uvs(near.cache, "f" * 64)) == []
