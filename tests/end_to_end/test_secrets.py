"""Secrets planted in the environment, in URLs and as declared secrets are in no record, no export, no command line."""

import gzip
import os
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project, until

AMBIENT, IN_URL, DECLARED = "ambient-hunter2", "url-hunter2", "declared-hunter2"
SECRETS = (AMBIENT, IN_URL, DECLARED)
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
        '      test -n "$AWS_SECRET_ACCESS_KEY" || exit 9; echo "$TOKEN"; echo done > out.txt\n'
        "      while [ ! -e go ]; do sleep 0.05; done\n",
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
    (planted.path / "go").touch()
    mlrun("wait", "latest").ok()
    out = tmp_path / "exported"
    out.mkdir()
    mlrun("export", "latest", "-o", out / "bundle.tar.gz").ok()
    mlrun("export", "latest", "--format", "ro-crate", "--license", "MIT", "-o", out / "crate").ok()
    for form in ("prov", "slsa", "openlineage"):
        mlrun("export", "latest", "--format", form, "-o", out / form).ok()
    said = mlrun("show", "latest", "--json").ok().out + mlrun("list", "--json").ok().out
    assert not any(secret in said for secret in SECRETS)
    assert len(list(out.rglob("*"))) > 8
    assert holding(out) == []
    assert holding(home / "store", home / "cache") == [("stdout.log", DECLARED)]
    mlrun("export", "latest", "-o", tmp_path / "logs.tar.gz", "--logs").ok()
    assert holding(tmp_path / "logs.tar.gz") == [("logs.tar.gz", DECLARED)]
    record = mlrun.show()
    assert record["execution"]["secrets"] == ["TOKEN"]
    assert record["code"]["url"] == "https://example.org/planted.git"
    assert os.environ["TOKEN"] == DECLARED
