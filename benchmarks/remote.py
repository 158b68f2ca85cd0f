"""Runs on another machine, beside plain ssh, scp and rsync: `python -m benchmarks.remote` (as root: a lab machine).

The machine is that of the tests: a real sshd in a network namespace of its own; `lab-slow` is the same with 50 ms of
delay each way. Arguments choose among `warm`, `lines` and `transfer`; $ROUNDS says how often, and $LINK how many
megabits go through the link in a second: without a bound it is the two machines' processors that are measured.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import Case, in_turn, once, report
from runner.worker.stat_cache import StatCache
from tests.machines import NAMES, Machine

_MLPROJECT = """\
entry_points:
  main: {command: "true"}
  tick: {command: "python3 tick.py"}
  read: {parameters: {data: path}, command: "test -s {data}"}
  make: {outputs: [made.bin], command: "head -c $SIZE /dev/urandom > made.bin"}
"""
_TICK = """\
import time
for _ in range(25):
    print(repr(time.time()), flush=True)
    time.sleep(0.13)
"""
_SIZE = 1 << 30
_BLOCK = 1 << 18
ROUNDS = int(os.environ.get("ROUNDS", "7"))
LINK = int(os.environ.get("LINK", "0"))


class _Bench:
    """A lab machine, `mlrun` that knows it, and plain ssh to it over a shared connection."""

    def __init__(self, scratch: Path, machine: Machine) -> None:
        self.scratch, self.machine = scratch, machine
        self.project = scratch / "project"
        for name in ("config", "project"):
            (scratch / name).mkdir()
        places = "" if machine.isolated else f'home = "{machine.home}/store"\ncache = "{machine.home}/cache"\n'
        hosts = "".join(f'[hosts.{name}]\naddress = "{name}"\n{places}' for name in NAMES)
        (scratch / "config" / "hosts.toml").write_text(f"version = 1\n{hosts}")
        (self.project / "MLproject").write_text(_MLPROJECT.replace("$SIZE", str(_SIZE)))
        (self.project / "tick.py").write_text(_TICK)
        self.environ = {**os.environ, **machine.environ(), "MLRUN_CONFIG": str(scratch / "config")}
        self.environ |= {"MLRUN_HOME": str(scratch / "home"), "MLRUN_CACHE": str(scratch / "cache")}
        self.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        control = ["-o", "ControlMaster=auto", "-o", f"ControlPath={scratch}/m-%n", "-o", "ControlPersist=600"]
        self.options = ["-F", str(machine.config), *control]

    def case(self, name: str, *argv: str) -> Case:
        return Case(name, argv, self.project, self.environ)

    def mlrun(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).with_name("mlrun")), "-q", *words]

    def run(self, *words: str) -> list[str]:
        return self.mlrun("run", ".", "--env-manager", "local", *words)

    def ssh(self, host: str, *command: str) -> list[str]:
        return ["ssh", *self.options, host, *command]

    def scp(self, origin: str, target: str) -> list[str]:
        return ["scp", "-q", *self.options, origin, target]

    def close(self) -> None:
        for host in ("lab", "lab-slow"):
            subprocess.run(self.ssh("-O", "exit", host), check=False, capture_output=True)


def main() -> None:
    """Time what the arguments name, or all."""
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as name:
        scratch = Path(name)
        (scratch / "machine").mkdir()
        machine = Machine(scratch / "machine")
        try:
            if LINK:
                machine.throttle(LINK)
            bench = _Bench(scratch, machine)
            for word in sys.argv[1:] or _PARTS:
                _PARTS[word](bench)
            bench.close()
        finally:
            machine.close()


def _warm(bench: _Bench) -> None:
    cases = [bench.case("mlrun run (here)", *bench.run())]
    for host in ("lab", "lab-slow"):
        cases.append(bench.case(f"ssh {host} true", *bench.ssh(host, "true")))
        cases.append(bench.case(f"mlrun run --on {host}", *bench.run("--on", host)))
    print(report(in_turn(cases, rounds=ROUNDS), "ssh lab true"))


def _lines(bench: _Bench) -> None:
    """How long a line takes from the command there to the terminal here; both have the same clock."""
    (bench.machine.home / "tick.py").write_text(_TICK)
    for host in ("lab", "lab-slow"):
        times: dict[str, list[float]] = {f"ssh {host}": [], f"mlrun run --on {host}": []}
        for _ in range(min(ROUNDS, 3)):
            times[f"ssh {host}"] += _delays(bench, bench.ssh(host, "python3", "tick.py"))
            times[f"mlrun run --on {host}"] += _delays(bench, bench.run("--on", host, "-e", "tick"))
        print(report(times, f"ssh {host}"))


def _delays(bench: _Bench, argv: Sequence[str]) -> list[float]:
    with subprocess.Popen(argv, cwd=bench.project, env=bench.environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        return [time.time() - float(line) for line in process.stdout]


def _transfers(bench: _Bench) -> None:
    """A gigabyte of noise, there and back, of which nothing is at the other end."""
    data, back = bench.scratch / "data.bin", bench.scratch / "back.bin"
    reads = bench.run("--on", "lab", "-e", "read", "-P", f"data={data}")
    times: dict[str, list[float]] = {}

    def timed(name: str, argv: Sequence[str]) -> None:
        os.sync()
        times.setdefault(name, []).append(once(bench.case(name, *argv)))

    once(bench.case("the worker goes there", *bench.run("--on", "lab")))
    for _ in range(min(ROUNDS, 5)):
        _renew(data)
        timed("scp, there", bench.scp(str(data), "lab:copy.bin"))
        if shutil.which("rsync"):
            timed("rsync, there", ["rsync", "-e", " ".join(bench.ssh("")[:-1]), str(data), "lab:synced.bin"])
        _learn(bench, data)
        timed("mlrun run, digest known", reads)
        timed("the same again", reads)
        _renew(data)
        timed("mlrun run, a new input", reads)
        timed("scp, back", bench.scp("lab:copy.bin", str(back)))
        once(bench.case("make", *bench.run("--on", "lab", "-e", "make", "--no-fetch")))
        timed("mlrun fetch", bench.mlrun("fetch", "latest"))
        _forget(bench, back)
    print(report(times, "scp, there"))
    print("in pairs, a run less one that does nothing, beside scp:", _paired(times))


def _paired(times: dict[str, list[float]]) -> str:
    again = statistics.median(times["the same again"])
    pairs = zip(times["mlrun run, digest known"], times["scp, there"], strict=True)
    return f"{statistics.median((run - again) / copy for run, copy in pairs):.2f}"


def _renew(data: Path) -> None:
    with data.open("wb") as file:
        for _ in range(_SIZE // _BLOCK):
            file.write(os.urandom(_BLOCK))
    time.sleep(0.2)  # what has just changed is not remembered


def _learn(bench: _Bench, data: Path) -> None:
    digests = StatCache(bench.scratch / "cache" / "stat.sqlite")
    digests.digest(data)
    digests.save()


def _forget(bench: _Bench, back: Path) -> None:
    """Throw away what came, so that no disk is filled and each copy makes a new file."""
    for store in (bench.scratch / "home", bench.machine.home / ".local/share/mlrun", bench.machine.home / "store"):
        shutil.rmtree(store, ignore_errors=True)
    for path in (back, bench.machine.home / "copy.bin", bench.machine.home / "synced.bin"):
        path.unlink(missing_ok=True)


_PARTS = {"warm": _warm, "lines": _lines, "transfer": _transfers}

if __name__ == "__main__":
    main()
