"""A new environment beside what uv takes for it alone: `python -m benchmarks.environment [ROUNDS] [PACKAGE...]`.

Both resolve with hashes, make a virtual environment and install with `--link-mode copy` from the same warm download
cache; what each keeps of an interpreter is there from the round before. uv goes its quickest way, a requirements file
with hashes: by a pylock.toml of its own it downloads all again where a mirror lets nothing be kept. It makes the same
environment, with the pip (and for an old Python the setuptools) that virtualenv seeds, and once without. mlrun's side
also reads every installed file and keeps what the record needs; it is a process of its own, which starts and ends as a
worker does, interpreter and imports included. The last line is a ready environment, taken again in this process.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import Case, in_turn, report
from runner.environments.choice import Choice
from runner.environments.plan import plan
from runner.worker.codec import encode
from runner.worker.environment.cache.slot import slots
from runner.worker.environment.prepare import prepare
from runner.worker.facts import Placement
from runner.worker.files import canonical
from runner.worker.objects import Objects
from runner.worker.remote.site import FLAGS
from runner.worker.spec import RunSpec, Snapshot

_PACKAGES = ("scikit-learn", "pandas")
_GOAL = 1.3
_WARM_ROUNDS = 20
_WITHOUT_SETUPTOOLS = (3, 12)  # and later

_PREPARE = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from runner.worker.environment.prepare import prepare
from runner.worker.facts import Placement
from runner.worker.files import read_json
from runner.worker.objects import Objects
from runner.worker.spec import RunSpec
from runner.worker.verbs import leave
root, given = Path(sys.argv[1]), read_json(Path(sys.argv[2]))
placement = Placement(str(root), str(root / "cache"), uv=given["uv"], python=given["python"])
prepare(RunSpec.from_json(given["spec"]), placement, Objects(root / "objects"), Path(given["project"]),
        lambda line: None, scratch=root / "scratch", installer=given["installer"])
leave(0)
"""


def main() -> None:
    """Measure and print; exit 1 where the goal is missed."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert uv is not None
    said = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True)
    os.environ["UV_CACHE_DIR"] = said.stdout.strip()  # mlrun's own caches are new in each round
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        project = root / "project"
        project.mkdir()
        (project / "requirements.txt").write_text("".join(f"{name}\n" for name in sys.argv[2:] or _PACKAGES))
        planned = plan(project, Choice(), caller_environ={"PIP_CONFIG_FILE": "/dev/null"})
        spec = RunSpec("bench", "main", (), "true", Snapshot("0" * 64, "directory"), planned.spec)
        given = {"uv": uv, "python": sys.executable, "project": str(project), "installer": {}, "spec": encode(spec)}
        (root / "given.json").write_bytes(canonical(given))
        (root / "prepare.py").write_text(_PREPARE)
        (root / "seeds.txt").write_text("pip\n" if sys.version_info >= _WITHOUT_SETUPTOOLS else "pip\nsetuptools\n")
        cases = [
            Case("uv alone", _alone(uv, root, "seeds.txt")),
            Case("uv alone, without pip", _alone(uv, root)),
            _ours(root),
        ]
        times = in_turn(cases, rounds)
        print(report(times, "uv alone"))
        seconds, files = _warm(spec, uv, project, root)
        print(f"{'mlrun, environment ready':28}{seconds * 1000:10.1f}   ({files} files looked at)")
        ratio = statistics.median(times["mlrun"]) / statistics.median(times["uv alone"])
        print(f"goal: at most {_GOAL}; measured: {ratio:.2f}")
        sys.exit(ratio > _GOAL)


def _alone(uv: str, root: Path, *more: str) -> list[str]:
    script = (
        'd=$(mktemp -d -p "$1"); cd "$d" && "$0" pip compile -q --generate-hashes --allow-unsafe --python "$2" '
        '-o locked.txt "$1/project/requirements.txt" $3 >/dev/null && "$0" venv -q --python "$2" v '
        '&& "$0" pip sync -q --python v/bin/python --link-mode copy --require-hashes locked.txt'
    )
    return ["sh", "-c", script, uv, str(root), sys.executable, *(str(root / name) for name in more)]


def _ours(root: Path) -> Case:
    here = str(Path(__file__).resolve().parents[1])
    argv = [sys.executable, *FLAGS, str(root / "prepare.py"), str(root), str(root / "given.json"), here]
    return Case("mlrun", argv, before=lambda: _forget(root / "cache"))


def _forget(cache: Path) -> None:
    """Have nothing be known of the environment any more; its files are left where they are, as uv's are."""
    if cache.exists():
        (cache / "envs").rename(tempfile.mkdtemp(dir=cache.parent))
        shutil.rmtree(cache / "locks")


def _warm(spec: RunSpec, uv: str, project: Path, root: Path) -> tuple[float, int]:
    place = root / "warm"
    placement = Placement(str(place), str(place / "cache"), uv=uv, python=sys.executable)
    times = []
    for _ in range(_WARM_ROUNDS):
        start = time.perf_counter()
        prepare(spec, placement, Objects(place), project, lambda _: None, scratch=place / "scratch", installer={})
        times.append(time.perf_counter() - start)
    [slot] = slots(place / "cache")
    [watched] = slot.root.glob("*.watched")
    return statistics.median(times), watched.read_bytes().count(b"\0") + 1


if __name__ == "__main__":
    main()
