"""`mlrun env`: what the cache holds, why it serves or not, and how it goes."""

import json
import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MLRUN, Mlrun, Project, until
from tests.environments.index import serving
from tests.environments.wheels import make_wheel


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    make_wheel(tmp_path / "wheels", "tool")
    return tmp_path / "wheels"


@pytest.fixture
def tool(project: Project, wheels: Path) -> Project:
    project.write("python_env.yaml", "dependencies: [tool]\n")
    project.write(
        "MLproject",
        "name: demo\nentry_points:\n  main: {command: 'python -c \"import tool; print(tool.VERSION)\"'}\n"
        "  long: {command: 'echo ready; sleep 60'}\n",
    )
    return project


def test_the_life_of_an_environment(mlrun: Mlrun, tool: Project, home: Path):
    assert mlrun("env", "list", "--json").ok().json["environments"] == []
    run = mlrun("run", tool.path, "-e", "long", "--detach").ok().out.strip()
    until(lambda: mlrun("logs", run).out == "ready\n")
    [one] = mlrun("env", "list", "--json").ok().json["environments"]
    assert (one["state"], one["packages"]["tool"], one["fault"]) == ("in use", "1.0", None)
    assert [(use["run"], use["project"], use["running"]) for use in one["uses"]] == [(run, "demo", True)]
    assert one["size"] > 100_000
    assert f"demo {run[-8:]} (running)" in mlrun("env", "list").ok().out
    refused = mlrun("env", "rm", one["key"][:8])
    assert refused.code == 125
    assert f"is in use by demo {run[-8:]}" in refused.err
    os.utime(f"{one['prefix']}.lock", (0, 0))
    assert mlrun("env", "prune", "--older-than", "1d", "--json").ok().json["removed"] == []
    mlrun("cancel", run).ok()
    would = mlrun("env", "prune", "--keep-size", "0", "--dry-run", "--json").ok().json
    assert (would["removed"], would["bytes"] > 0, would["dry_run"]) == ([one["key"]], True, True)
    assert mlrun("env", "prune", "--older-than", "1d", "--json").ok().json["removed"] == [one["key"]]
    assert list((home / "cache" / "envs").iterdir()) == []


def test_what_a_run_reads_is_not_pruned_while_it_goes_on(mlrun: Mlrun, project: Project, home: Path):
    project.write(
        "MLproject",
        "entry_points:\n  make: {command: 'echo 7 > seven', outputs: [seven]}\n"
        "  main: {parameters: {data: path}, command: 'cat {data}; sleep 60'}\n",
    )
    first = mlrun("run", project.path, "-e", "make", "--env-manager", "local", "--detach").ok().out.strip()
    mlrun("wait", first).ok()
    words = ("run", project.path, "--env-manager", "local", "-P", f"data=runs:/{first}/seven")
    second = mlrun(*words, "--detach").ok().out.strip()
    until(lambda: mlrun("logs", second).out == "7\n")
    [data] = (home / "cache" / "downloads").iterdir()
    for each in (data, *data.rglob("*")):
        os.utime(each, (0, 0))
    assert mlrun("env", "prune", "--older-than", "1d", "--json").ok().json["provisions"] == 0
    mlrun("cancel", second).ok()
    assert mlrun("env", "prune", "--older-than", "1d", "--json").ok().json["provisions"] == 1
    assert not data.exists()


def test_an_environment_is_held_as_soon_as_it_is_ready(mlrun: Mlrun, tool: Project, home: Path, tmp_path: Path):
    mlrun("run", tool.path).ok()
    with (tmp_path / "big").open("wb") as stream:
        stream.truncate(100 << 30)  # without a block on the disk: to read it takes a while
    tool.write("MLproject", "entry_points:\n  main: {parameters: {data: path}, command: 'true'}\n")
    run = mlrun("run", tool.path, "-P", f"data={tmp_path / 'big'}", "--detach").ok().out.strip()
    directory = home / "store" / "runs" / run
    until((directory / "environment.json").exists)
    [one] = mlrun("env", "list", "--json").ok().json["environments"]
    os.utime(f"{one['prefix']}.lock", (0, 0))
    assert f"is in use by project {run[-8:]}" in mlrun("env", "rm", one["key"]).err
    assert mlrun("env", "prune", "--keep-size", "0", "--json").ok().json["removed"] == []
    assert not (directory / "inputs.json").exists()
    mlrun("cancel", run).ok()
    mlrun("env", "rm", one["key"]).ok()


def test_verify_finds_the_edit_that_a_run_would_find(mlrun: Mlrun, tool: Project, home: Path):
    mlrun("run", tool.path).ok()
    assert mlrun("env", "verify").ok().err.splitlines()[-1] == "1 looked at, none damaged"
    [module] = (home / "cache").rglob("site-packages/tool/__init__.py")
    module.write_text("VERSION = 'edited'\n")
    said = mlrun("env", "verify", "--json")
    assert said.code == 1
    assert said.json["environments"][0]["fault"] == "tool was edited (tool/__init__.py)"
    why = mlrun("env", "why", tool.path).ok().out
    assert "damaged: it would be built again: tool was edited (tool/__init__.py)" in why
    key = said.json["environments"][0]["key"]
    assert mlrun("env", "rm", key).ok().err == f"removed {key[:8]}\n"
    assert mlrun("env", "rm", key).code == 125


def test_what_is_broken_is_said_where_it_stays(mlrun: Mlrun, tool: Project):
    mlrun("run", tool.path).ok()
    assert mlrun("env", "prune").ok().err.splitlines()[-1].startswith("all can be used; ")
    [one] = mlrun("env", "list", "--json").ok().json["environments"]
    Path(one["prefix"], "bin", "python").unlink()
    said = mlrun("env", "prune").ok().err.splitlines()
    assert said[-1] == "what is broken was used in the last hour, and stays until that is over"
    os.utime(f"{one['prefix']}.lock", (0, 0))
    assert "its interpreter is gone" in mlrun("env", "prune").ok().err


def test_why_names_what_differs(mlrun: Mlrun, tool: Project, wheels: Path):
    asked = mlrun("env", "why", tool.path, "--json").ok().json["environment"]
    assert (asked["state"], asked["nearest"]) == ("unlocked", None)
    mlrun("run", tool.path).ok()
    asked = mlrun("env", "why", tool.path, "--json").ok().json["environment"]
    assert (asked["state"], asked["lock_origin"]) == ("ready", "cache")
    first = asked["key"]
    make_wheel(wheels, "tool", "2.0")
    tool.write("python_env.yaml", "dependencies: ['tool>1']\n")
    assert "python_env.yaml has changed since" in mlrun("env", "why", tool.path).ok().out
    mlrun("lock", tool.path).ok()
    asked = mlrun("env", "why", tool.path, "--json").ok().json["environment"]
    assert (asked["state"], asked["lock_origin"]) == ("missing", "project")
    assert asked["nearest"] == {"key": first, "differences": ["tool 1.0 instead of 2.0"]}
    mlrun("run", tool.path).ok()
    past = mlrun("env", "why", "latest").ok().out
    assert "built: first use of these packages" in past
    assert "tool 1.0 instead of 2.0" in past
    local = mlrun("env", "why", tool.path, "--env-manager", "local").ok()
    assert "nothing is built" in local.out


def test_why_of_a_run_that_got_none(mlrun: Mlrun, tool: Project):
    tool.write("python_env.yaml", "dependencies: [no-such-thing]\n")
    mlrun("run", tool.path)
    assert "none: the requirements cannot be resolved" in mlrun("env", "why", "latest").ok().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prune", "--older-than", "3"), "'3' is no length of time"),
        (("prune", "--keep-size", "much"), "'much' is no size"),
        (("rm", "feed"), "no environments of the cache answer to 'feed'"),
        (("verify", ""), "no environments of the cache answer to ''"),
        (("why", "no-such-run"), "no run"),
        (("why", "./no-such-project"), "there is no directory ./no-such-project"),
    ],
)
def test_wrong_words_are_one_line(mlrun: Mlrun, words: tuple[str, ...], said: str):
    answer = mlrun("env", *words)
    assert answer.code in (2, 125)
    assert said in answer.err
    assert "hint: " in answer.err
    assert json.loads(mlrun("env", *words, "--json").out)["error"]["message"]


def test_upgrade_takes_a_package_or_none(mlrun: Mlrun, tool: Project, wheels: Path):
    make_wheel(wheels, "other")
    tool.write("python_env.yaml", "dependencies: [tool, other]\n")
    command = "python -c 'import tool, other; print(tool.VERSION, other.VERSION)'"
    tool.write("MLproject", f'name: demo\nentry_points:\n  main: {{command: "{command}"}}\n')
    (tool.path.parent / "tool").mkdir()  # a directory of the package's name: it is the project that is meant
    assert mlrun("run", tool.path).ok().out == "1.0 1.0\n"
    make_wheel(wheels, "tool", "2.0")
    make_wheel(wheels, "other", "2.0")
    assert mlrun("run", "--upgrade", "other", tool.path).ok().out == "1.0 2.0\n"
    assert mlrun("run", "--upgrade", tool.path).ok().out == "2.0 2.0\n"
    make_wheel(wheels, "tool", "3.0")
    assert mlrun("run", tool.path, "--upgrade=tool").ok().out == "3.0 2.0\n"
    assert "no MLproject" in mlrun("run", "--upgrade", "tool").err or mlrun("list", "--json").json["runs"]
    assert mlrun("lock", "--upgrade", "other", tool.path).ok().err.count("wrote") == 1
    assert "the project's lock" in mlrun("run", tool.path, "--exclude-newer", "30d").err


def test_a_run_that_never_got_a_lock_is_repeated_as_of_its_own_date(mlrun: Mlrun, tool: Project, wheels: Path):
    kept = (wheels / "tool-1.0-py3-none-any.whl").read_bytes()
    (wheels / "tool-1.0-py3-none-any.whl").unlink()
    assert mlrun("run", tool.path).code == 125
    (wheels / "tool-1.0-py3-none-any.whl").write_bytes(kept)
    said = mlrun("rerun", "latest").ok()
    assert said.out == "1.0\n"
    assert "note: the run has left no lock; its packages are resolved as of its own date, 20" in said.err
    assert [gap["field"] for gap in mlrun.show()["gaps"]].count("environment.lock") == 1


def test_a_rerun_knows_the_login_of_a_private_index(
    mlrun: Mlrun, tool: Project, wheels: Path, home: Path, monkeypatch: pytest.MonkeyPatch
):
    with serving(wheels) as index:
        index.login = "ada:s3cret"
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
            monkeypatch.delenv(name)
        (home / "pip.conf").write_text(f"[global]\nindex-url = {index.url.replace('://', '://ada:s3cret@')}\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(home / "pip.conf"))
        assert mlrun("run", tool.path).ok().out == "1.0\n"
        shutil.rmtree(home / "cache")
        assert mlrun("rerun", "latest", UV_CACHE_DIR=str(home / "cold")).ok().out == "1.0\n"
        kept = [path for path in (home / "store").rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
        assert kept == []


def test_on_a_terminal_too_the_line_that_says_why_it_is_built_again_stays(mlrun: Mlrun, tool: Project, home: Path):
    mlrun("run", tool.path).ok()
    [module] = (home / "cache").rglob("site-packages/tool/__init__.py")
    module.write_text("VERSION = 'edited'\n")
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    subprocess.run([*MLRUN, "run", str(tool.path)], env=environ, stderr=theirs, stdout=subprocess.DEVNULL, check=True)
    os.close(theirs)
    said = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert said.startswith("note: the environment is built again: tool was edited (tool/__init__.py)\r\n")


def test_a_damaged_cache_costs_time_and_nothing_else(mlrun: Mlrun, tool: Project, home: Path):
    mlrun("run", tool.path).ok()
    files = [path for path in (home / "cache").rglob("*") if path.is_file() and path.suffix != ".pyz"]
    own = [path for path in files if len(path.relative_to(home / "cache").parts) <= 3]
    for number, path in enumerate(sorted(own)):
        path.write_bytes((b"\xff\xfe\0", b'{"version": 1}', b"")[number % 3])
    for words in (("env", "list"), ("env", "why", tool.path)):
        mlrun(*words).ok()
    assert mlrun("env", "verify").code in (0, 1)
    assert mlrun("run", tool.path).ok().out == "1.0\n"
    mlrun("env", "verify").ok()
