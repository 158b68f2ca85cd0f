"""What pip and uv are configured with, in uv's words."""

from pathlib import Path

import pytest

from runner.environments.installer import configured, merged


@pytest.fixture(autouse=True)
def no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave this machine's own files out."""
    from runner.environments import installer

    real = installer._pip_files
    monkeypatch.setattr(installer, "_pip_files", lambda environ: [p for p in real(environ) if p.parts[1] != "etc"])


def at(home: Path, **environ: str) -> dict[str, str]:
    return configured({"HOME": str(home), "XDG_CONFIG_DIRS": "/nonexistent", "SSL_CERT_FILE": "x", **environ})


def pip_conf(home: Path, text: str, name: str = ".config/pip/pip.conf") -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_pips_file(tmp_path: Path) -> None:
    pip_conf(
        tmp_path,
        "[global]\nindex-url = https://u:p@one.invalid/simple\nextra_index_url =\n  https://two.invalid/simple\n  file:///three\n"
        "[install]\nfind-links = ~/wheels /srv/wheels\ntrusted-host = h1 h2\nno-index = true\n",
    )
    assert at(tmp_path) == {
        "UV_DEFAULT_INDEX": "https://u:p@one.invalid/simple",
        "UV_INDEX": "https://two.invalid/simple file:///three",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": f"{tmp_path}/wheels,/srv/wheels",
        "UV_INSECURE_HOST": "h1 h2",
        "MLRUN_NO_INDEX": "1",
    }


def test_a_variable_is_stronger_than_a_file(tmp_path: Path) -> None:
    pip_conf(tmp_path, "[global]\nindex-url = https://one.invalid\n", ".pip/pip.conf")
    named = pip_conf(tmp_path, "[global]\nindex-url = https://two.invalid\n", "named.conf")
    assert at(tmp_path)["UV_DEFAULT_INDEX"] == "https://one.invalid"
    assert at(tmp_path, PIP_CONFIG_FILE=str(named))["UV_DEFAULT_INDEX"] == "https://two.invalid"
    found = at(tmp_path, PIP_CONFIG_FILE=str(named), PIP_INDEX_URL="https://three.invalid")
    assert found["UV_DEFAULT_INDEX"] == "https://three.invalid"
    assert at(tmp_path, PIP_CONFIG_FILE="/dev/null") == {}


def test_uvs_own_is_stronger_than_pips(tmp_path: Path) -> None:
    pip_conf(tmp_path, "[global]\nindex-url = https://pip.invalid\nextra-index-url = https://pip2.invalid\n")
    found = at(tmp_path, UV_DEFAULT_INDEX="https://uv.invalid", UV_INDEX="https://uv2.invalid")
    assert found == {"UV_DEFAULT_INDEX": "https://uv.invalid", "UV_INDEX": "https://uv2.invalid"}


def test_uvs_file(tmp_path: Path) -> None:
    (tmp_path / ".config" / "uv").mkdir(parents=True)
    (tmp_path / ".config" / "uv" / "uv.toml").write_text(
        'index-strategy = "first-index"\nfind-links = ["/w"]\n[[index]]\nname = "a"\nurl = "https://a.invalid"\n'
        '[[index]]\nurl = "https://b.invalid"\ndefault = true\n[[index]]\nname = "c"\nurl = "c:"\nexplicit = true\n'
    )
    assert at(tmp_path) == {
        "UV_DEFAULT_INDEX": "https://b.invalid",
        "UV_INDEX": "a=https://a.invalid",
        "UV_INDEX_STRATEGY": "first-index",
        "UV_FIND_LINKS": "/w",
    }


def test_logins_and_choices_of_uv_come_along_and_its_directories_do_not(tmp_path: Path) -> None:
    given = {
        "UV_INDEX_A_PASSWORD": "s",
        "UV_EXCLUDE_NEWER": "2026-01-01",
        "UV_CACHE_DIR": "/c",
        "UV_PYTHON": "3.9",
        "UV_LOCKED": "1",
    }
    assert at(tmp_path, **given) == {"UV_INDEX_A_PASSWORD": "s", "UV_EXCLUDE_NEWER": "2026-01-01"}


@pytest.mark.parametrize("text", ["no section", "[global\n", "\x00", "[global]\nindex-url\n"])
def test_a_broken_file_is_passed_over(tmp_path: Path, text: str) -> None:
    pip_conf(tmp_path, text)
    assert at(tmp_path) == {}


def test_a_project_adds_to_the_machine(tmp_path: Path) -> None:
    machine = {"UV_INDEX": "https://a https://b", "UV_FIND_LINKS": "/w", "UV_INDEX_URL": "https://d"}
    project = {"UV_INDEX": "https://b https://c", "UV_FIND_LINKS": "/v", "UV_DEFAULT_INDEX": "https://e"}
    assert merged(machine, project) == {
        "UV_INDEX": "https://b https://c https://a",
        "UV_FIND_LINKS": "/v,/w",
        "UV_DEFAULT_INDEX": "https://e",
    }
