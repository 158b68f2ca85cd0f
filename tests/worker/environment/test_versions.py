"""Version requests, read as their writers mean them."""

import pytest

from runner.worker.environment.interpreters import versions


@pytest.mark.parametrize(
    ("request_", "fits", "fits_not"),
    [
        ("3", ["3.9.1", "3.13.0"], ["2.7.18"]),
        ("3.10", ["3.10.0", "3.10.13"], ["3.1.0", "3.100.0", "3.11.0", "3.10.0rc1"]),
        ("3.10.1", ["3.10.1"], ["3.10.13", "3.10.0"]),
        ("==3.10.*", ["3.10.13"], ["3.11.0"]),
        ("==3.10", ["3.10.13"], ["3.11.0"]),
        ("=3.10", ["3.10.13"], ["3.11.0"]),
        (">=3.9,<3.12", ["3.9.0", "3.11.7"], ["3.8.18", "3.12.0", "3.12.1"]),
        (">3.9", ["3.9.1", "3.10.0"], ["3.9.0"]),
        ("<=3.11", ["3.11.0"], ["3.11.1"]),
        ("~=3.10", ["3.10.0", "3.13.0"], ["3.9.9", "4.0.0"]),
        ("~=3.10.2", ["3.10.2", "3.10.9"], ["3.10.1", "3.11.0"]),
        ("!=3.10.*,>=3.9", ["3.9.1", "3.11.0"], ["3.10.4"]),
        ("!=3.10.4", ["3.10.5"], ["3.10.4"]),
        ("3.14.0rc1", ["3.14.0rc1"], ["3.13.0", "3.14.0", "3.14.0rc2", "3.14.0rc10", "3.14.0b1"]),
        (">=3.14.0rc1", ["3.14.0rc1", "3.14.0rc2", "3.14.0"], ["3.13.0"]),
    ],
)
def test_admits(request_: str, fits: list[str], fits_not: list[str]) -> None:
    assert versions.problem(request_) is None
    assert [one for one in fits if not versions.admits(request_, one)] == []
    assert [one for one in fits_not if versions.admits(request_, one)] == []
    assert all(versions.may_admit(request_, one) for one in fits)


@pytest.mark.parametrize("request_", ["", "three", "3.x", ">=3.9 <3.12", "3.10; rm -rf", "python3.10", ">=", "-3"])
def test_what_is_no_version_is_told(request_: str) -> None:
    assert versions.problem(request_) is not None


def test_free_threaded_builds_only_on_request() -> None:
    assert versions.admits("3.13t", "3.13.0", threaded=False)
    assert not versions.admits("3.13", "3.13.0", threaded=False)
    assert not versions.admits(">=3.9", "3.13.0", threaded=False)
    assert not versions.admits("3.13t", "3.13.0")


def test_a_series_is_ruled_out_by_its_name() -> None:
    assert not versions.may_admit("3.10", "3.11")
    assert not versions.may_admit(">=3.9,<3.12", "3.12.1")
    assert versions.may_admit(">=3.9,<3.12", "3.11")


@pytest.mark.parametrize(
    ("request_", "implementation", "bare"),
    [("pypy3.10", "pypy", "3.10"), ("pypy@3.10", "pypy", "3.10"), ("cpython3.11", "cpython", "3.11")],
)
def test_an_implementation_is_told_apart(request_: str, implementation: str, bare: str) -> None:
    assert versions.problem(request_) is None
    assert versions.implementation_of(request_) == implementation
    assert versions.admits(request_, f"{bare}.4", implementation=implementation)
    assert not versions.admits(request_, f"{bare}.4", implementation="graalpy")
    assert versions.admits(bare, f"{bare}.4") is True
    assert versions.admits(bare, f"{bare}.4", implementation="pypy") is False
    assert versions.release_of(request_) == versions.release_of(bare)


def test_a_series_is_named_as_a_request_would() -> None:
    assert [versions.series_of(one) for one in ("3.11.7", "3.13.0t", "pypy3.10.14")] == ["3.11", "3.13t", "pypy3.10"]
    assert versions.flavour("3.13.1t") == versions.flavour("3.13t") != versions.flavour("3.13.1")
