"""A warm run in a container beside its engine alone: `python -m benchmarks.container IMAGE [ROUNDS]`.

IMAGE is one that the engine has, with a shell. The engine runs `true` in it with the same words as mlrun, from a shell;
mlrun runs `true` in it, and on the host. What the container adds to a run is held against the engine alone. Then both
build an image upon it, of a Dockerfile and an edited directory of a thousand files, and run `true` in that: what
`--build-image` adds to a run on the host is held against `build` and `run` of the engine alone. The last line is a
ready image, taken again in this process, and the engine's own word that it has it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import Case, in_turn, once, report
from runner.worker.containers.engines import find
from runner.worker.environment.prepare import prepare
from runner.worker.facts import Placement
from runner.worker.objects import Objects
from runner.worker.spec import EnvironmentSpec, RunSpec, Snapshot

_GOAL, _READY_GOAL = 1.3, 10.0  # times the engine; milliseconds
_WARM_ROUNDS = 20
_LABEL = "mlrun.benchmark=alone"
_FILES = 1000
_EDITED = 'date +%N > stamp && exec "$0" "$@"'
_BUILT = 'date +%N > stamp && "$0" build --label "$1" --iidfile ../iid . && shift && exec "$@" "$(cat ../iid)" true'


def main() -> None:
    """Measure and print; exit 1 where the goal is missed."""
    image, *more = sys.argv[1:]
    rounds = int(more[0]) if more else 7
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for name in ("project", "built", "built-alone"):
            (root / name).mkdir()
            (root / name / "MLproject").write_text(
                f"name: nothing\ndocker_env: {{image: '{image}'}}\nentry_points: {{main: {{command: 'true'}}}}\n"
            )
        _fill(root / "built", image)
        _fill(root / "built-alone", image)
        env = {**os.environ, "MLRUN_HOME": str(root / "home"), "MLRUN_CACHE": str(root / "cache")}
        mlrun = [str(Path(sys.executable).with_name("mlrun")), "run", "."]
        case = Case("mlrun, in a container", mlrun, root / "project", env)
        once(case)
        engine = find("", os.environ).program
        cases = [
            Case("the engine alone", _alone(root), root),
            case,
            Case("mlrun, on the host", [*mlrun, "--env-manager", "local"], root / "project", env),
            Case("the engine builds and runs", _building(engine, root), root / "built-alone"),
            Case("mlrun builds and runs", ["sh", "-c", _EDITED, *mlrun, "--build-image"], root / "built", env),
        ]
        try:
            times = in_turn(cases, rounds)
        finally:
            _remove_built(engine)
        ready = _ready(image, root) * 1000
        asking = Case("asking", [engine, "image", "inspect", image])
        asked = statistics.median(once(asking) for _ in range(_WARM_ROUNDS)) * 1000
    print(report(times, "the engine alone"))
    alone, inside, outside, building, built = (statistics.median(times[case.name]) for case in cases)
    adds, builds = (inside - outside) / alone, (built - outside) / building
    print(f"what the container adds, times the engine alone: goal at most {_GOAL}; measured: {adds:.2f}")
    print(f"what building and running adds, times the engine: goal at most {_GOAL}; measured: {builds:.2f}")
    print(f"a ready image: goal {_READY_GOAL:.0f} ms; measured: {ready:.1f} ms (the engine by itself: {asked:.1f})")
    sys.exit(max(adds, builds) > _GOAL or ready > _READY_GOAL)


def _fill(project: Path, image: str) -> None:
    (project / "Dockerfile").write_text(f"FROM {image}\nCOPY . /project\n")
    for number in range(_FILES):
        (project / f"{number}.txt").write_text(f"{number}\n" * 100)


def _building(engine: str, root: Path) -> list[str]:
    """Return the words by which the engine alone builds an image of an edited directory, and runs it."""
    run = _alone(root)[:-2]  # without its image and command
    return ["sh", "-c", _BUILT, engine, _LABEL, *run]


def _remove_built(engine: str) -> None:
    for which in (["--filter", f"label={_LABEL}"], ["localhost/mlrun/nothing"]):
        said = subprocess.run([engine, "images", "--quiet", *which], capture_output=True, check=True).stdout.decode()
        if said:
            subprocess.run([engine, "rmi", "--force", *dict.fromkeys(said.split())], capture_output=True, check=False)


def _ready(image: str, root: Path) -> float:
    spec = RunSpec(
        "p",
        "main",
        (),
        "true",
        Snapshot("0" * 64, "directory"),
        EnvironmentSpec("container", "docker_env", image=image),
    )
    placement, objects = Placement(str(root), str(root / "cache")), Objects(root / "objects")
    times = []
    for _ in range(_WARM_ROUNDS):
        start = time.perf_counter()
        prepare(spec, placement, objects, root, lambda _: None, scratch=root / "scratch", installer={})
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _alone(root: Path) -> list[str]:
    """Return the words by which mlrun had the engine run `true`, without what is a run's own."""
    [start] = (root / "home" / "runs").glob("*/start.json")
    words = json.loads(start.read_text())["argv"]
    at = words.index("--name")
    words = [*words[:at], *words[at + 2 :]]
    return [*words[: words.index("sh")], "true"]


if __name__ == "__main__":
    main()
