"""`runs:/ID/PATH` as the value of a `path` parameter: what an earlier run logged or wrote, found in the store."""

from __future__ import annotations

import posixpath
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from runner.errors import MlrunError, ProjectError
from runner.flow.outputs import outputs_of, write
from runner.store.store import Store
from runner.worker.files import note_use
from runner.worker.hashing import digest_of_directory, sha256_of
from runner.worker.results import FileFact
from runner.worker.rundir import RunDirectory

_ID = re.compile("[0-9a-f]{32}")


def locate(store: Store, downloads: Path, name: str, uri: str) -> str:
    """Return a local path with the bytes of `runs:/ID/PATH`, below ``downloads``: equal bytes at equal paths.

    ``name`` is the parameter's. ID is a sub-run's, or anything that names a run. ProjectError where there is none.
    """
    run_id, _, path = uri.removeprefix("runs:/").strip("/").partition("/")
    path = posixpath.normpath(path) if path else ""
    try:
        run, base = _run(store, run_id)
        place, found = _outputs(run, base, path)
    except MlrunError as error:
        raise ProjectError(f"{name}: {uri}: {error.message}", hint=error.hint) from None
    digest = digest_of_directory((fact.path[len(place) :], fact.sha256 or "") for fact in found)
    leaf = posixpath.basename(place) or "artifacts"
    home = downloads / sha256_of(f"{leaf}\n{digest}".encode("utf-8", "surrogateescape"))[:16]
    if not home.exists():
        _write(store, run, found, (place, leaf), home)
    note_use(home)
    return str(home.absolute() / leaf)


def _run(store: Store, run_id: str) -> tuple[RunDirectory, str]:
    """Return a run, and where in it the artifacts lie: a sub-run's own, for a sub-run."""
    if _ID.fullmatch(run_id):
        child = next(store.root.glob(f"runs/*/children/{run_id}"), None)
        if child is not None:
            return RunDirectory(child.parent.parent), f"children/{run_id}/artifacts"
    return store.find(run_id), "artifacts"


def _outputs(run: RunDirectory, base: str, path: str) -> tuple[str, Sequence[FileFact]]:
    """Return the file or directory that is meant, and the outputs that it is made of."""
    files = outputs_of(run)
    own = [path] if base == "artifacts" and path else []  # of the project, not logged
    for place in (posixpath.join(base, path).rstrip("/"), posixpath.join(base, "models", path), *own):
        found = [fact for fact in files if fact.path == place or fact.path.startswith(f"{place}/")]
        if found:
            return place, found
    message = f"the run {run.id} has no artifact {path!r}"
    raise MlrunError(message, hint=f"`mlrun artifacts {run.id}` lists what it has")


def _write(store: Store, run: RunDirectory, found: Sequence[FileFact], names: tuple[str, str], home: Path) -> None:
    place, leaf = names
    home.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".fetching-", dir=home.parent))
    try:
        for fact in found:
            goal = Path(f"{aside}/{leaf}{fact.path[len(place) :]}")
            goal.parent.mkdir(parents=True, exist_ok=True)
            write(fact, store, run, goal)
        aside.rename(home)
    except OSError:
        if not home.exists():  # else another run was first, with the same bytes
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
