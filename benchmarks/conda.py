"""A new conda environment beside what py-rattler takes for it alone: `python -m benchmarks.conda [ROUNDS]`.

Both solve from the same `file://` channel and install into a new prefix, with nothing cached, in a process of their
own. py-rattler by itself hashes nothing here and links its files with its cache. mlrun's side copies and hashes each
archive, writes the lock, and takes note of every file; its interpreter and its imports are included. The last lines are
a ready environment: taken again in this process, and py-rattler's own look at a prefix that needs nothing.

The packages are this machine's standard library and site-packages, cut into archives (`.conda` where `zstandard` can be
imported, else `.tar.bz2`, of which the extraction takes so long that all else hardly counts).
"""

from __future__ import annotations

import io
import json
import os
import statistics
import sys
import sysconfig
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import Case, in_turn, report
from runner.environments.installer import configured
from runner.flow.prepare import find_uv
from runner.worker.codec import encode
from runner.worker.environment.conda import rattler
from runner.worker.environment.prepare import prepare
from runner.worker.environment.site import Site
from runner.worker.facts import Placement
from runner.worker.files import canonical
from runner.worker.objects import Objects
from runner.worker.spec import EnvironmentSpec, RunSpec, Snapshot
from tests.conda.channel import Channel

_GOAL, _READY_GOAL = 1.3, 10.0  # times py-rattler; milliseconds
_PER_PACKAGE = 250  # files
_MOST_FILES = 10_000
_WARM_ROUNDS = 20

_PREPARE = """
import sys
from pathlib import Path
from runner.worker.codec import decode
from runner.worker.environment.prepare import prepare
from runner.worker.facts import Placement
from runner.worker.files import read_json
from runner.worker.objects import Objects
from runner.worker.spec import RunSpec
root, given = Path(sys.argv[1]), read_json(Path(sys.argv[2]))
(root / "cache").mkdir()
(root / "cache" / "tools").symlink_to(given["tools"])
placement = Placement(str(root), str(root / "cache"), uv=given["uv"], python=given["python"])
prepare(RunSpec.from_json(given["spec"]), placement, Objects(root / "objects"), root,
        lambda line: None, scratch=root / "scratch", installer={})
"""
_ALONE = """
import asyncio, json, os, sys
from pathlib import Path
import rattler
root, spec = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_bytes())["spec"]["environment"]
async def main():
    gateway = rattler.Gateway(cache_dir=root / "repodata")
    virtual = rattler.VirtualPackage.detect()
    records = await rattler.solve(spec["channels"], spec["packages"], gateway=gateway, virtual_packages=virtual)
    await rattler.install(records, root / "prefix", cache_dir=root / "pkgs", show_progress=False)
asyncio.run(main())
os._exit(0)
"""


def main() -> None:
    """Measure and print; exit 1 where a goal is missed."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-conda-") as place:
        root = Path(place)
        names = list(_fill(Channel(root / "channel")))
        wanted = EnvironmentSpec("conda", "conda.yaml", channels=((root / "channel").as_uri(),), packages=tuple(names))
        spec = RunSpec("bench", "main", (), "true", Snapshot("0" * 64, "directory"), wanted)
        tools = _tools(spec, root)
        given = {
            "uv": find_uv(),
            "python": sys.executable,
            "tools": str(root / "cache" / "tools"),
            "spec": encode(spec),
        }
        (root / "given.json").write_bytes(canonical(given))
        (root / "prepare.py").write_text(_PREPARE)
        (root / "alone.py").write_text(_ALONE)
        cases = [Case("py-rattler alone", _argv(f"{tools}/python", root, "alone")), Case("mlrun", _ours(root))]
        times = in_turn(cases, rounds)
        print(report(times, "py-rattler alone"))
        ready = _warm(spec, root) * 1000
        print(f"{'mlrun, environment ready':28}{ready:10.1f}")
        ratio = statistics.median(times["mlrun"]) / statistics.median(times["py-rattler alone"])
        print(f"goals: at most {_GOAL} and {_READY_GOAL:.0f} ms; measured: {ratio:.2f} and {ready:.1f} ms")
        sys.exit(ratio > _GOAL or ready > _READY_GOAL)


def _fill(channel: Channel) -> Iterator[str]:
    """Cut the standard library and site-packages into packages; yield their names."""
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in library.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = files[:_MOST_FILES]
    for start in range(0, len(files), _PER_PACKAGE):
        name = f"part{start // _PER_PACKAGE}"
        chosen = files[start : start + _PER_PACKAGE]
        contents = {f"lib/python3.11/{path.relative_to(library).as_posix()}": path.read_bytes() for path in chosen}
        _compress(channel, channel.package(name, files=contents))
        yield name
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.0f} MB", file=sys.stderr)


def _compress(channel: Channel, archive: Path) -> None:
    """Turn a `.tar.bz2` into a `.conda`, where that can be."""
    try:
        import zstandard
    except ImportError:
        return
    parts = {"info": io.BytesIO(), "pkg": io.BytesIO()}
    with tarfile.open(archive) as old:
        with tarfile.open(fileobj=parts["info"], mode="w") as info, tarfile.open(fileobj=parts["pkg"], mode="w") as pkg:
            for member in old:
                (info if member.name.startswith("info/") else pkg).addfile(member, old.extractfile(member))
    stem = archive.name[: -len(".tar.bz2")]
    with zipfile.ZipFile(archive.with_name(f"{stem}.conda"), "w") as new:
        new.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
        for name, stream in parts.items():
            new.writestr(f"{name}-{stem}.tar.zst", zstandard.compress(stream.getvalue(), 12))
    channel.replace(archive, archive.with_name(f"{stem}.conda"))


def _tools(spec: RunSpec, root: Path) -> str:
    placement = Placement(str(root), str(root / "cache"), uv=find_uv(), python=sys.executable)
    site = Site(spec, placement, Objects(root), root, print, root / "scratch", configured(os.environ))
    return rattler.environment(site).bin


def _argv(python: str, root: Path, script: str) -> list[str]:
    line = 'd=$(mktemp -d -p "$1"); PYTHONPATH="$4" "$2" "$1/$3.py" "$d" "$1/given.json"; rm -rf "$d"'
    return ["sh", "-c", line, "sh", str(root), python, script, str(Path(__file__).resolve().parents[1])]


def _ours(root: Path) -> list[str]:
    return _argv(sys.executable, root, "prepare")


def _warm(spec: RunSpec, root: Path) -> float:
    placement = Placement(str(root), str(root / "cache"), uv=find_uv(), python=sys.executable)
    times = []
    for _ in range(_WARM_ROUNDS + 1):
        start = time.perf_counter()
        prepare(spec, placement, Objects(root), root, lambda _: None, scratch=root / "scratch", installer={})
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
