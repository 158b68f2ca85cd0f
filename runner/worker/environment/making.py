"""Makes an environment with nothing in it but pip: by virtualenv, else, on a bare host or for an old Python, by uv."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from runner.errors import EnvironmentBuildError
from runner.worker.environment.site import Site
from runner.worker.environment.uv import CLONES
from runner.worker.environment.versions import release_of
from runner.worker.spec import Interpreter
from runner.worker.tools import Finished, call

SPACE = "free some space (`mlrun env prune`), or point MLRUN_CACHE at a larger disk"
_SEEDED_BY_VIRTUALENV = (3, 9)  # and later: it carries no pip for an older one
_WITHOUT_SETUPTOOLS = (3, 12)  # and later

# Makes an environment, and prints where virtualenv keeps the wheels that belong into it.
_MAKE = """
import sys
from virtualenv.__main__ import run_with_catch
from virtualenv.seed.wheels.embed import get_embed_wheel
series, *names = sys.argv[1].split(",")
run_with_catch(sys.argv[2:])
print(*(get_embed_wheel(name, series).path for name in names), sep="\\n")
"""


def make(site: Site, interpreter: Interpreter, prefix: Path) -> str:
    """Make an environment and return who made it; EnvironmentBuildError quotes why none can be made."""
    refusal = ""
    if (
        site.wanted.manager != "uv"
        and site.placement.python
        and release_of(interpreter.version) >= _SEEDED_BY_VIRTUALENV
    ):
        site.say("making a virtual environment with virtualenv")
        done = _virtualenv(site, interpreter, prefix)
        if done.code == 0:
            return _creator(prefix, "virtualenv")
        refusal = (done.complaint or done.text).strip().rpartition("\n")[2]
        shutil.rmtree(prefix, ignore_errors=True)
        if "no space" in refusal.lower():  # nor could uv
            raise _unmade(interpreter, refusal)
        site.say(f"virtualenv cannot make it ({refusal}): uv does")
    words = ["venv", "--quiet", "--no-project", "--python", interpreter.path]
    if site.placement.pip is not None and not refusal and _seeded(site, words, prefix):
        return _creator(prefix, site.uv.version.replace("uv", "uv venv"))
    done = site.uv.ask(*words, "--seed", *_index_options(site), str(prefix), cwd=site.scratch)
    if done.code != 0:
        refusal = refusal or site.uv.reason(done)
        shutil.rmtree(prefix, ignore_errors=True)
        done = site.uv.ask(*words, str(prefix), cwd=site.scratch)
        done = done if done.code else call([prefix / "bin" / "python", "-I", "-m", "ensurepip", "--default-pip"])
    if done.code != 0:
        raise _unmade(interpreter, refusal or done.complaint)
    return _creator(prefix, site.uv.version.replace("uv", "uv venv"))


def _unmade(interpreter: Interpreter, reason: str) -> EnvironmentBuildError:
    message = f"no virtual environment can be made with {interpreter.path}: {reason}"
    hint = SPACE if "no space" in reason.lower() else "see whether that Python is whole: `python -m venv` needs it"
    return EnvironmentBuildError(message, hint=hint)


def _seeded(site: Site, words: "list[str]", prefix: Path) -> bool:
    """Make an environment with the pip that came with the run: no network is needed, nor anything of this host."""
    made = site.uv.ask(*words, str(prefix), cwd=site.scratch).code == 0
    if made and _put_in(site, prefix, str(site.placement.pip)):
        return True
    shutil.rmtree(prefix, ignore_errors=True)
    return False


def _virtualenv(site: Site, interpreter: Interpreter, prefix: Path) -> Finished:
    """Make an environment with virtualenv and its own seeds, never newer ones: what it would download drifts.

    uv puts the seeds in, which costs a fraction of what virtualenv takes for it, and virtualenv itself where uv cannot.
    """
    words = ["--quiet", "--no-download", "--no-periodic-update", "--no-vcs-ignore", "--python", interpreter.path]
    version = release_of(interpreter.version)
    names = ("pip", "setuptools") if version < _WITHOUT_SETUPTOOLS else ("pip",)
    series = ".".join(map(str, version[:2]))
    done = _call(site, "-c", _MAKE, f"{series},{','.join(names)}", *words, "--no-seed", prefix)
    wheels = done.text.splitlines()
    if done.code == 0 and len(wheels) == len(names) and _put_in(site, prefix, *wheels):
        return done
    shutil.rmtree(prefix, ignore_errors=True)
    return _call(site, "-m", "virtualenv", *words, prefix)


def _call(site: Site, *words: "str | Path") -> Finished:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUALENV_", "PYTHON"))}
    environ["VIRTUALENV_OVERRIDE_APP_DATA"] = str(site.cache / "downloads" / "virtualenv")
    environ["VIRTUALENV_CONFIG_FILE"] = os.devnull
    assert site.placement.python is not None
    # From the scratch directory: modules are looked for in the current one, which is the user's otherwise.
    return call([site.placement.python, *words], cwd=site.scratch, env=environ)


def _put_in(site: Site, prefix: Path, *wheels: str) -> bool:
    """Install wheels that lie here, without asking any index; whether that could be done."""
    return (
        site.uv.ask(*pip_install(prefix), "--no-deps", "--no-index", "--offline", *wheels, cwd=site.scratch).code == 0
    )


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
