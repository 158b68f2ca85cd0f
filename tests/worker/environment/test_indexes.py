"""What an index has sent once is not asked for again, whether it lets it be kept or not."""

import shutil
from collections.abc import Iterator

import pytest

from runner.errors import EnvironmentBuildError
from runner.worker.environment.locks.indexes import index_of
from runner.worker.environment.logins import apart
from tests.environments.index import Index, serving
from tests.environments.wheels import make_wheel

from .conftest import Host

LOGIN = "ada:s3cret"
PYPI = "https://pypi.org/simple"


@pytest.fixture
def index(host: Host) -> Iterator[Index]:
    make_wheel(host.wheels, "violet")
    with serving(host.wheels) as index:
        yield index


@pytest.mark.parametrize("way", ["default", "named default", "login", "extra", "named extra"])
def test_an_archive_is_fetched_once(host: Host, index: Index, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(host.root / "uv"))
    index.login = LOGIN if way == "login" else ""
    url = index.url.replace("://", f"://{LOGIN}@") if index.login else index.url
    with serving(host.root) as nothing:
        extra = {"UV_INDEX": f"lab={url}" if way == "named extra" else url, "UV_DEFAULT_INDEX": nothing.url}
        default = {"UV_DEFAULT_INDEX": f"lab={url}" if way == "named default" else url}
        host.installer = extra if "extra" in way else default
        for _ in range(2):
            index.asked.clear()
            assert host.names(host.prepare("violet", manager=None)) == {"violet"}
            shutil.rmtree(host.cache / "envs")
        assert index.asked == []
    assert LOGIN not in (host.root / "scratch" / "pylock.toml").read_text()


def test_another_archive_of_the_same_name_in_the_cache_is_not_taken(
    host: Host, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(host.root / "uv"))
    host.installer = {"UV_DEFAULT_INDEX": index.url}
    spec = host.spec("violet", manager=None)
    first = host.carry_out(spec)
    make_wheel(host.wheels, "violet", text="EVIL = True")
    shutil.rmtree(host.root / "uv")
    host.prepare("violet", manager=None, placed={"upgrade": True})  # uv's cache has the new one by the same name
    shutil.rmtree(host.cache / "envs")
    with pytest.raises(EnvironmentBuildError, match="Hash mismatch for `violet==1"):
        host.carry_out(first.pin(spec))


@pytest.mark.parametrize(
    ("installer", "address", "index"),
    [
        ({}, "https://files.pythonhosted.org/packages/a.whl", PYPI),
        ({"UV_INDEX_URL": "https://a/simple"}, "https://b/a.whl", "https://a/simple"),
        ({"UV_INDEX": "https://torch/whl/cpu"}, "https://torch/whl/cpu/t.whl", "https://torch/whl/cpu"),
        ({"UV_INDEX": "t=https://torch/whl/cpu"}, "https://torch/whl/cpu/t.whl", "https://torch/whl/cpu"),
        (
            {"UV_INDEX": "https://torch/whl https://torch/whl/cpu"},
            "https://torch/whl/cpu/t.whl",
            "https://torch/whl/cpu",
        ),
        ({"UV_INDEX": "https://ada:pw@torch/whl?a=b"}, "https://torch/whl/t.whl", "https://torch/whl?a=b"),
        ({"UV_EXTRA_INDEX_URL": "https://torch/whl"}, "https://other/t.whl", PYPI),
        ({"UV_DEFAULT_INDEX": "lab=https://a/simple"}, "https://b/a.whl", "https://a/simple"),
        ({"UV_DEFAULT_INDEX": "/srv/simple"}, "https://b/a.whl", None),
        ({"MLRUN_NO_INDEX": "1"}, "https://other/t.whl", None),
    ],
)
def test_the_index_of_an_archive(installer: dict[str, str], address: str, index: str | None) -> None:
    assert index_of(address, installer) == index


def test_logins_are_taken_out_of_the_addresses_of_indexes() -> None:
    given = {
        "UV_DEFAULT_INDEX": "https://ada:p%40ss@host/simple",
        "UV_INDEX": "lab.1=https://bob:pw@lab/simple https://keyring@host/a https://ada:other@host:8080/b https://c/d",
        "UV_INDEX_LAB_1_PASSWORD": "own",
    }
    assert apart(given) == {
        "UV_DEFAULT_INDEX": "uv_default_index-0=https://host/simple",
        "UV_INDEX_UV_DEFAULT_INDEX_0_USERNAME": "ada",
        "UV_INDEX_UV_DEFAULT_INDEX_0_PASSWORD": "p@ss",
        "UV_INDEX": "lab.1=https://lab/simple https://keyring@host/a uv_index-2=https://host:8080/b https://c/d",
        "UV_INDEX_LAB_1_PASSWORD": "own",
        "UV_INDEX_UV_INDEX_2_USERNAME": "ada",
        "UV_INDEX_UV_INDEX_2_PASSWORD": "other",
    }
    assert apart({"UV_INDEX": "https://c/d", "UV_OFFLINE": "1"}) == {"UV_INDEX": "https://c/d", "UV_OFFLINE": "1"}
