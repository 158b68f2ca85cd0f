"""Makes an environment without packages: by virtualenv, else, on a bare host or for an old Python, by uv."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from runner.errors import EnvironmentBuildError
from runner.worker.environment.cache.installed import distributions
from runner.worker.environment.locks.pylock import normalised
from runner.worker.environment.site import Site
from runner.worker.environment.uv import CLONES
from runner.worker.environment.virtualenv.process import Virtualenv
from runner.worker.spec import Interpreter
from runner.worker.tools import Finished, call
from runner.worker.values import dataclass

SPACE = "free some space (`mlrun env prune`), or point MLRUN_CACHE at a larger disk"


@dataclass(frozen=True)
class Made:
    """Who made an environment, and the wheels that it still lacks: pip, for an old Python setuptools.

    What uv took from an index to seed it is as new as can be had that day.
    """

    by: str
    seeds: tuple[str, ...] = ()
    drifting: tuple[str, ...] = ()  # distributions, by their normalised names


def make(site: Site, virtualenv: Virtualenv, prefix: Path) -> Made:
    """Make an environment; EnvironmentBuildError quotes why none can be made."""
    interpreter, refusal = virtualenv.interpreter, ""
    if virtualenv.serves:
        site.say("making a virtual environment with virtualenv")
        made = virtualenv.make(prefix)
        if made.done.code == 0:
            return Made(_creator(prefix, "virtualenv"), made.seeds)
        refusal = (made.done.complaint or made.done.text).strip().rpartition("\n")[2]
        shutil.rmtree(prefix, ignore_errors=True)
        if "no space" in refusal.lower():  # nor could uv
            raise _unmade(interpreter, refusal)
        site.say(f"virtualenv cannot make it ({refusal}): uv does")
    return _by_uv(site, interpreter, prefix, refusal)


def _by_uv(site: Site, interpreter: Interpreter, prefix: Path, refusal: str) -> Made:
    by = site.uv.version.replace("uv", "uv venv")
    words = ["venv", "--quiet", "--no-project", "--python", interpreter.path]
    if site.placement.pip is not None and not refusal and _seeded(site, words, prefix):
        return Made(_creator(prefix, by))
    done = site.uv.ask(*words, "--seed", *_index_options(site), str(prefix), cwd=site.scratch)
    if done.code == 0:
        return Made(_creator(prefix, by), drifting=tuple(normalised(one.name) for one in distributions(prefix)))
    refusal = refusal or site.uv.reason(done)
    shutil.rmtree(prefix, ignore_errors=True)
    done = site.uv.ask(*words, str(prefix), cwd=site.scratch)
    done = done if done.code else call([prefix / "bin" / "python", "-I", "-m", "ensurepip", "--default-pip"])
    if done.code != 0:
        raise _unmade(interpreter, refusal)
    return Made(_creator(prefix, by))


def _unmade(interpreter: Interpreter, reason: str) -> EnvironmentBuildError:
    message = f"no virtual environment can be made with {interpreter.path}: {reason}"
    hint = SPACE if "no space" in reason.lower() else "see whether that Python is whole: `python -m venv` needs it"
    return EnvironmentBuildError(message, hint=hint)


def _seeded(site: Site, words: "list[str]", prefix: Path) -> bool:
    """Make an environment with the pip that came with the run: no network is needed, nor anything of this host."""
    made = site.uv.ask(*words, str(prefix), cwd=site.scratch).code == 0
    if made and put_in(site, prefix, str(site.placement.pip)).code == 0:
        return True
    shutil.rmtree(prefix, ignore_errors=True)
    return False


def put_in(site: Site, prefix: Path, *wheels: str) -> Finished:
    """Have uv install wheels that lie here, without asking any index."""
    return site.uv.ask(*pip_install(prefix), "--no-deps", "--no-index", "--offline", *wheels, cwd=site.scratch)


def pip_install(prefix: Path) -> list[str]:
    """Return the words by which uv installs into an environment."""
    return ["pip", "install", "--python", str(prefix / "bin" / "python"), "--link-mode", CLONES]


def _index_options(site: Site) -> list[str]:
    return [] if not site.uv.options else ["--no-index"]


def _creator(prefix: Path, name: str) -> str:
    """Return who made an environment, as its own file says."""
    with contextlib.suppress(OSError):
        for line in (prefix / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == name:
                return f"{name} {value.strip()}"
    return name
