"""Secrets planted in the environment, in URLs and as declared secrets are in no record, no export, no command line."""

import gzip
import json
import os
import zipfile
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project, until
from tests.publishing.servers import Small

AMBIENT, IN_URL, DECLARED, LOGIN = "ambient-hunter2", "url-hunter2", "declared-hunter2", "login-hunter2"
SECRETS = (AMBIENT, IN_URL, DECLARED, LOGIN)
LOCAL = ("--env-manager", "local")


@pytest.fixture
def planted(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose command gets a secret, prints it, and waits to be looked at."""
    monkeypatch.setenv("TOKEN", DECLARED)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", AMBIENT)
    monkeypatch.setenv("UV_INDEX_URL", f"https://ada:{IN_URL}@index.example.org/simple")
    project.write(
        "MLproject",
        "name: planted\noutputs: [out.txt]\nentry_points:\n  main:\n    secrets: [TOKEN]\n    command: |\n"
        '      echo "$TOKEN"; echo "ambient ${{AWS_SECRET_ACCESS_KEY:+is here}}"; echo done > out.txt\n'
        "      while [ ! -e $HOME/go ]; do sleep 0.05; done\n",
    )
    project.write(".gitignore", "out.txt\ngo\n")
    project.commit()
    project.git("remote", "add", "origin", f"https://ada:{IN_URL}@example.org/planted.git")
    return project


def holding(*roots: Path) -> list[tuple[str, str]]:
    """Return the files below that hold a secret, and which; compressed ones are looked into."""
    found = []
    for path in (path for root in roots for path in (root.rglob("*") if root.is_dir() else [root])):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    data = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
            found += [(path.name, secret) for secret in SECRETS if secret.encode() in data]
    return found


def on_command_lines() -> list[bytes]:
    """Return the command lines of the machine's processes that hold a secret."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((entry / "cmdline").read_bytes())
        except OSError:
            continue
    return [line for line in lines if any(secret.encode() in line for secret in SECRETS)]


def test_no_secret_is_kept_or_shown(mlrun: Mlrun, planted: Project, home: Path, tmp_path: Path):
    why = f"as https://ada:{IN_URL}@example.org/issue/1 asks"
    mlrun("run", planted.path, *LOCAL, "--detach", "-m", why).ok()
    run = until(lambda: next((home / "store/runs").iterdir(), None))
    until(lambda: (run / "stdout.log").exists() and DECLARED in (run / "stdout.log").read_text())
    assert on_command_lines() == []
    (Path(os.environ["HOME"]) / "go").touch()
    mlrun("wait", "latest").ok()
    assert "ambient is here" in mlrun("logs", "latest").ok().out
    out = tmp_path / "exported"
    out.mkdir()
    mlrun("export", "latest", "-o", out / "bundle.tar.gz").ok()
    mlrun("export", "latest", "--format", "ro-crate", "--license", "MIT", "-o", out / "crate").ok()
    mlrun("export", "latest", "--format", "ro-crate", "--license", "MIT", "-o", out / "crate.zip").ok()
    for form in ("prov", "slsa", "openlineage"):
        mlrun("export", "latest", "--format", form, "-o", out / form).ok()
    mlrun("push", out / "depot", "latest").ok()
    assert len(list((out / "depot").rglob("*"))) > 20
    mlrun("run", planted.path, *LOCAL, "-m", "again").ok()
    for argv in (
        ["show", "latest"],
        ["list"],
        ["diff", run.name, "latest"],
        ["lineage", "latest"],
        ["verify", "--all"],
    ):
        for words in (argv, [*argv, "--json"]):
            said = mlrun(*words)
            assert not any(secret in said.out + said.err for secret in SECRETS), words
    assert len(list(out.rglob("*"))) > 8
    assert holding(out) == []
    assert holding(home / "store", home / "cache") == [("stdout.log", DECLARED)] * 2
    mlrun("export", "latest", "-o", tmp_path / "logs.tar.gz", "--logs").ok()
    assert holding(tmp_path / "logs.tar.gz") == [("logs.tar.gz", DECLARED)]
    record = mlrun.show()
    assert record["execution"]["secrets"] == ["TOKEN"]
    assert record["code"]["url"] == "https://example.org/planted.git"
    assert os.environ["TOKEN"] == DECLARED


def test_no_secret_reaches_a_tracking_server_but_its_own_login(mlrun: Mlrun, planted: Project, home: Path):
    (Path(os.environ["HOME"]) / "go").touch()
    with Small() as server:
        env = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": LOGIN}
        address = server.uri.replace("//", f"//ada:{IN_URL}@")
        mlrun("run", planted.path, *LOCAL, "--tracking-uri", server.uri, **env).ok()
        mlrun("run", planted.path, *LOCAL, "--tracking-uri", address).ok()
        mlrun("publish", "latest", "--tracking-uri", server.uri, **env).ok()
        told = json.dumps([server.runs, sorted(server.artifacts), server.experiments])
        told += "".join(body.decode("utf-8", "replace") for body in server.artifacts.values())
        assert len(server.runs) == 2
        assert all(run["tags"] for run in server.runs.values())
        assert not any(secret in told for secret in SECRETS)
        assert any(login for _, _, login in server.asked)
    assert holding(home / "store", home / "cache") == [("stdout.log", DECLARED)] * 2
    said = mlrun("show", "latest").ok().out + mlrun("show", "latest", "--json").ok().out
    assert "published" in said
    assert not any(secret in said for secret in SECRETS)


def test_no_secret_is_kept_or_shown_on_another_machine(mlrun: Mlrun, planted: Project, home: Path, machine):
    mlrun("host", "add", "far", "lab").ok()
    mlrun("run", planted.path, *LOCAL, "--on", "far", "--detach").ok()
    until(lambda: [path for path in machine.home.rglob("stdout.log") if DECLARED in path.read_text()])
    assert on_command_lines() == []
    (machine.home / "go").touch()
    mlrun("wait", "latest").ok()
    said = mlrun("logs", "latest").ok().out
    assert said == f"{DECLARED}\nambient \n"
    assert holding(machine.home) == [("stdout.log", DECLARED)]
    assert holding(home / "store", home / "cache", home / "config") == [("stdout.log", DECLARED)]
