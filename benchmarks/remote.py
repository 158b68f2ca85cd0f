"""Runs on another machine, beside plain ssh, scp and rsync: `python -m benchmarks.remote` (as root: a lab machine).

The machine is that of the tests: a real sshd in a network namespace of its own; `lab-slow` is the same with 50 ms of
delay each way.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import Case, in_turn, report
from tests.machines import NAMES, Machine

_MLPROJECT = """\
entry_points:
  main: {command: "true"}
  read: {parameters: {data: path}, command: "test -s {data}"}
"""
_SIZE = 1 << 30
ROUNDS = int(os.environ.get("ROUNDS", "7"))


def main() -> None:
    """Time warm runs, and the transfer of a gigabyte."""
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as name:
        scratch = Path(name)
        (scratch / "machine").mkdir()
        machine = Machine(scratch / "machine")
        try:
            _bench(machine, scratch)
        finally:
            machine.close()


def _bench(machine: Machine, scratch: Path) -> None:
    environ = {**os.environ, **machine.environ(), "MLRUN_CONFIG": str(scratch / "config")}
    environ |= {"MLRUN_HOME": str(scratch / "home"), "MLRUN_CACHE": str(scratch / "cache")}
    (scratch / "config").mkdir()
    places = "" if machine.isolated else f'home = "{machine.home}/store"\ncache = "{machine.home}/cache"\n'
    hosts = "".join(f'[hosts.{name}]\naddress = "{name}"\n{places}' for name in NAMES)
    (scratch / "config" / "hosts.toml").write_text(f"version = 1\n{hosts}")
    project = scratch / "project"
    project.mkdir()
    (project / "MLproject").write_text(_MLPROJECT)
    run = [str(Path(sys.executable).with_name("mlrun")), "-q", "run", ".", "--env-manager", "local"]
    shared = ["-o", "ControlMaster=auto", "-o", f"ControlPath={scratch}/m-%n", "-o", "ControlPersist=60"]
    ssh = ["ssh", "-F", str(machine.config), *shared]
    cases = [
        Case("mlrun run (here)", run, project, environ),
        Case("ssh lab true", [*ssh, "lab", "true"], project, environ),
        Case("mlrun run --on lab", [*run, "--on", "lab"], project, environ),
        Case("ssh lab-slow true", [*ssh, "lab-slow", "true"], project, environ),
        Case("mlrun run --on lab-slow", [*run, "--on", "lab-slow"], project, environ),
    ]
    print(report(in_turn(cases, rounds=ROUNDS), "ssh lab true"))
    _transfers(scratch, project, environ, run, ssh)
    for host in ("lab", "lab-slow"):
        os.spawnvp(os.P_WAIT, "ssh", [*ssh, "-O", "exit", host])


def _transfers(scratch: Path, project: Path, environ: dict, run: list[str], ssh: list[str]) -> None:
    data = scratch / "data.bin"
    with data.open("wb") as file:
        for _ in range(_SIZE >> 20):
            file.write(os.urandom(1 << 20))
    fresh = f"head -c 16 /dev/urandom | dd of={data} conv=notrunc status=none"  # another gigabyte each time
    scp = ["scp", "-q", *ssh[1:], str(data), "lab:copy.bin"]
    reads = [*run, "-e", "read", "--on", "lab", "-P", f"data={data}"]
    cases = [
        Case("scp", ["sh", "-c", f"{fresh}; exec {' '.join(scp)}"], project, environ),
        Case("mlrun run -P data=", ["sh", "-c", f"{fresh}; exec {' '.join(reads)}"], project, environ),
        Case("the same again", reads, project, environ),
    ]
    if shutil.which("rsync"):
        argv = ["rsync", "-e", " ".join(ssh), str(data), "lab:synced.bin"]
        cases.insert(1, Case("rsync", argv, project, environ))
    print(report(in_turn(cases, rounds=min(ROUNDS, 3)), "scp"))


if __name__ == "__main__":
    main()
