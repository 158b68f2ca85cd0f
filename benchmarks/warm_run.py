"""A warm run of a do-nothing entry point, beside peers and the bare interpreter: `python -m benchmarks.warm_run`.

Peers are used where they are found: `--peers DIR` names a directory of virtual environments mlflow/, dvc/, guild/,
datalad/ (`python -m benchmarks.warm_run --install DIR` makes them, from PyPI).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import Case, in_turn, report

_PACKAGES = {"mlflow": "mlflow", "dvc": "dvc", "guild": "guildai", "datalad": "datalad"}

_MLPROJECT = """\
name: nothing
python_env: python_env.yaml
entry_points:
  main: {command: "python nothing.py"}
"""


def install(directory: Path) -> None:
    """Make a virtual environment for each peer."""
    for name, package in _PACKAGES.items():
        prefix = directory / name
        subprocess.run([sys.executable, "-m", "virtualenv", "-q", str(prefix)], check=True)
        done = subprocess.run([str(prefix / "bin/pip"), "install", "-q", package], check=False)
        print(f"{name}: {'ready' if done.returncode == 0 else 'could not be installed'}")


def project(directory: Path) -> Path:
    """Make a git repository with a project whose command does nothing."""
    directory.mkdir()
    (directory / "MLproject").write_text(_MLPROJECT)
    (directory / "python_env.yaml").write_text("dependencies: []\n")
    (directory / "nothing.py").write_text("")
    for argv in (["init", "-q"], ["add", "-A"], ["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "b"]):
        subprocess.run(["git", *argv], cwd=directory, check=True)
    return directory


def cases(scratch: Path, peers: Path | None) -> list[Case]:
    """Return the commands to time; each peer in a repository of its own."""
    env = {**os.environ, "MLRUN_HOME": str(scratch / "home"), "MLRUN_CACHE": str(scratch / "cache")}
    found = [
        Case("bare python", [sys.executable, "nothing.py"], project(scratch / "bare")),
        Case("mlrun run", [str(Path(sys.executable).with_name("mlrun")), "run", "."], project(scratch / "mlrun"), env),
        Case("mlrun --version", [str(Path(sys.executable).with_name("mlrun")), "--version"], scratch, env),
    ]
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        argv = [str(uv), "run", "--no-project", "--python", sys.executable, "python", "nothing.py"]
        found.append(Case("uv run", argv, project(scratch / "uv")))
    for name, make in (("mlflow", _mlflow), ("dvc", _dvc), ("guild", _guild), ("datalad", _datalad)):
        if peers is not None and (peers / name / "bin" / name).exists():
            found.append(make(scratch, (peers / name / "bin").resolve()))
        else:
            print(f"{name}: not found, left out")
    return found


def _path(bin_: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", **more}


def _mlflow(scratch: Path, bin_: Path) -> Case:
    where = project(scratch / "mlflow")
    env = _path(bin_, MLFLOW_TRACKING_URI=f"sqlite:///{scratch / 'mlflow.db'}")
    return Case("mlflow run", [str(bin_ / "mlflow"), "run", "--env-manager", "local", "."], where, env)


def _dvc(scratch: Path, bin_: Path) -> Case:
    where = project(scratch / "dvc")
    env = _path(bin_, DVC_NO_ANALYTICS="1")
    subprocess.run([str(bin_ / "dvc"), "init", "-q"], cwd=where, env=env, check=True)
    (where / "dvc.yaml").write_text("stages:\n  main:\n    cmd: python nothing.py\n    always_changed: true\n")
    _commit(where)
    return Case("dvc exp run", [str(bin_ / "dvc"), "exp", "run", "-q"], where, env)


def _guild(scratch: Path, bin_: Path) -> Case:
    where = project(scratch / "guild")
    (scratch / "guild-home").mkdir()
    env = _path(bin_, GUILD_HOME=str(scratch / "guild-home"))
    return Case("guild run", [str(bin_ / "guild"), "run", "-y", "nothing.py"], where, env)


def _datalad(scratch: Path, bin_: Path) -> Case:
    where = project(scratch / "datalad")
    env = _path(bin_)
    subprocess.run([str(bin_ / "datalad"), "create", "-f", "--no-annex", "."], cwd=where, env=env, check=True)
    _commit(where)
    return Case("datalad run", [str(bin_ / "datalad"), "run", "python nothing.py"], where, env)


def _commit(where: Path) -> None:
    subprocess.run(["git", "add", "-A"], cwd=where, check=True)
    identity = ["-c", "user.name=b", "-c", "user.email=b@b"]
    subprocess.run(["git", *identity, "commit", "-qm", "b", "--allow-empty"], cwd=where, check=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--install", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    if args.install:
        install(args.install)
        return
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as scratch:
        print(report(in_turn(cases(Path(scratch), args.peers), args.rounds), "bare python"))


if __name__ == "__main__":
    main()
