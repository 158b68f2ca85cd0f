"""What a run of a project would get, and why: nothing is resolved and nothing is built for the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Optional

from runner.errors import FormatError
from runner.worker.codec import decode
from runner.worker.environment.cache import shelf
from runner.worker.environment.cache.slot import Slot, entries
from runner.worker.environment.locks import locking
from runner.worker.environment.locks.locking import Known, Taken
from runner.worker.environment.nearness import Nearest
from runner.worker.environment.prepare import key_of, nearest_to, requested
from runner.worker.environment.site import Site
from runner.worker.files import read_json
from runner.worker.spec import Interpreter
from runner.worker.values import dataclass

READY, DAMAGED, MISSING, UNLOCKED, HOST = "ready", "damaged", "missing", "unlocked", "host"


@dataclass(frozen=True)
class Explanation:
    """What a run would get: an environment that is ready, or why there is none that serves."""

    state: str  # ready, damaged, missing; unlocked: no lock is known; host: nothing is built
    why: str
    interpreter: Optional[Interpreter] = None
    key: Optional[str] = None
    lock: Optional[str] = None
    lock_origin: str = ""
    nearest: Optional[Nearest] = None  # the environment, or the lock, that has most in common with what is wanted
    notes: tuple[str, ...] = field(default_factory=tuple)


def explain(site: Site) -> Explanation:
    """Return what a run would get; EnvironmentBuildError where it would get none."""
    if site.wanted.kind == "host":
        return Explanation(
            HOST, "--env-manager local takes this machine's own Python: nothing is built, nothing reused"
        )
    if site.wanted.kind == "conda":
        from runner.worker.environment.conda import locking as conda

        lock = conda.known(site)
        return _unlocked(site, None, conda.asked(site)) if lock is None else _locked(site, None, lock)
    if site.wanted.kind == "container":
        return _image(site)
    interpreter = site.search.find(requested(site)).interpreter
    taken = locking.known(site, interpreter)
    if taken is None:
        return _unlocked(site, interpreter, locking.asked(site, interpreter))
    return _locked(site, interpreter, taken)


def _image(site: Site) -> Explanation:
    from runner.worker.environment.container import known

    taken, why = known(site)
    if taken is None:
        return Explanation(MISSING, why)
    return Explanation(READY, f"the image sha256:{taken.image.id[:12]} is here: {taken.why}", lock_origin=taken.origin)


def _locked(site: Site, interpreter: Optional[Interpreter], taken: Taken) -> Explanation:
    key = key_of(site, interpreter, taken)
    marker, fault = shelf.look(Slot(site.cache / "envs" / key))
    nearest = None
    if fault is not None:
        state, why = DAMAGED, f"it would be built again: {fault}"
    elif marker is not None:
        state, why = READY, "a run would use it as it is"
    else:
        nearest = nearest_to(site, interpreter, taken, key)
        state, why = MISSING, "no environment is made of these packages with this interpreter"
    return Explanation(state, why, interpreter, key, taken.known.lock, taken.origin, nearest, tuple(_notes(taken)))


def _notes(taken: Taken) -> Iterator[str]:
    copies = [one.name for one in taken.known.locals if not one.editable]
    if copies:
        yield f"a copy of {', '.join(copies)} is installed: any edit of the project makes another environment"


def _unlocked(site: Site, interpreter: Optional[Interpreter], asked: Mapping[str, str]) -> Explanation:
    with_it = " with this interpreter" if interpreter else ""
    why, best = f"no lock is known for these requirements{with_it}: a run would resolve them", None
    for path in entries(site.cache / "locks"):
        known = _read(path) if path.suffix == ".json" else None
        if known is not None and known.asked:
            found = tuple(_differences(asked, known.asked))
            if best is None or len(found) < len(best.differences):
                best = Nearest(known.lock, found)
    return Explanation(UNLOCKED, why, interpreter, nearest=best)


def _read(path: Path) -> Optional[Known]:
    try:
        return decode(Known, read_json(path))
    except (OSError, FormatError):
        return None


def _differences(wanted: Mapping[str, str], other: Mapping[str, str]) -> Iterator[str]:
    """Yield in which parts another question differs."""
    changed = {name for name in {*wanted, *other} if wanted.get(name, "") != other.get(name, "")}
    for name in sorted(changed):
        mine, theirs = wanted.get(name), other.get(name)
        if name == "interpreter":
            if "python" not in changed:
                yield "another build of the same Python"
        elif name.startswith("file "):
            file = name[5:]
            yield f"{file} has changed since" if mine and theirs else f"{'no ' * (mine is not None)}{file}"
        elif "dependencies" in name:
            yield f"other {name}"
        else:
            yield f"{name} {theirs or 'none'} instead of {mine or 'none'}"
