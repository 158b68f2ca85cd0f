"""virtualenv, run so that only its own seeds are used; started while there is other work, because its start is slow."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Optional

from runner.worker.environment.interpreters.versions import release_of
from runner.worker.environment.site import Site
from runner.worker.spec import Interpreter
from runner.worker.tools import Finished, Waiting, call
from runner.worker.values import dataclass

_OLDEST = (3, 9)  # it carries no pip for an older one
_WITHOUT_SETUPTOOLS = (3, 12)  # and later

# Loads all that making an environment loads, waits for its place, makes it there, and prints which wheels seed it.
_MAKE = """
import contextlib, os, sys
from virtualenv.__main__ import run_with_catch
from virtualenv.run import session_via_cli
from virtualenv.seed.wheels.embed import get_embed_wheel
series, names, unmade, *words = sys.argv[1:]
seeds = [get_embed_wheel(name, series).path for name in names.split(",")]
with contextlib.suppress(Exception, SystemExit):  # what is wrong is said when it counts
    session_via_cli([*words, "--no-seed", unmade], setup_logging=False)
prefix = os.fsdecode(sys.stdin.buffer.read())
if prefix:
    run_with_catch([*words, "--no-seed", prefix])
    print(*seeds, sep="\\n", flush=True)
    os._exit(0)  # to clear away all that was loaded would take longer than making the environment
"""


@dataclass(frozen=True)
class Made:
    """How virtualenv ended, and the wheels that it has left to be installed: pip, for an old Python setuptools."""

    done: Finished
    seeds: "tuple[str, ...]" = ()


class Virtualenv:
    """virtualenv for one interpreter."""

    def __init__(self, site: Site, interpreter: Interpreter) -> None:
        """Start nothing yet."""
        self._site = site
        self.interpreter = interpreter
        self._ready: Optional[Waiting] = None

    @property
    def serves(self) -> bool:
        """Whether it is there, and makes environments of such an interpreter."""
        placement, version = self._site.placement, self.interpreter.version
        return self._site.wanted.manager != "uv" and bool(placement.python) and release_of(version) >= _OLDEST

    def get_ready(self) -> None:
        """Start it now, for an environment whose place is not known yet."""
        if self.serves and self._ready is None:
            self._site.scratch.mkdir(parents=True, exist_ok=True)
            self._ready = self._start()

    def make(self, prefix: Path) -> Made:
        """Make an environment without its seeds, which uv puts in faster; where that cannot be, with them.

        It never downloads newer seeds than its own: what it would download drifts.
        """
        waiting, self._ready = self._ready or self._start(), None
        done = waiting.finish(os.fsencode(prefix))
        seeds = tuple(done.text.splitlines())
        if done.code == 0 and len(seeds) == len(self._names):
            return Made(done, seeds)
        shutil.rmtree(prefix, ignore_errors=True)
        words = [self._python, "-m", "virtualenv", *self._words, str(prefix)]
        return Made(call(words, cwd=self._site.scratch, env=self._environ))

    def close(self) -> None:
        """End what was started and not needed."""
        if self._ready is not None:
            self._ready.dismiss()

    def _start(self) -> Waiting:
        series = ".".join(map(str, release_of(self.interpreter.version)[:2]))
        unmade = str(self._site.scratch / "virtualenv")
        words = [self._python, "-c", _MAKE, series, ",".join(self._names), unmade, *self._words]
        # From the scratch directory: modules are looked for in the current one, which is the user's otherwise.
        return Waiting(words, cwd=self._site.scratch, env=self._environ)

    @property
    def _python(self) -> str:
        assert self._site.placement.python is not None
        return self._site.placement.python

    @property
    def _names(self) -> "tuple[str, ...]":
        old = release_of(self.interpreter.version) < _WITHOUT_SETUPTOOLS
        return ("pip", "setuptools") if old else ("pip",)

    @property
    def _words(self) -> "list[str]":
        options = ["--quiet", "--no-download", "--no-periodic-update", "--no-vcs-ignore"]
        return [*options, "--python", self.interpreter.path]

    @property
    def _environ(self) -> "dict[str, str]":
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUALENV_", "PYTHON"))}
        environ["VIRTUALENV_OVERRIDE_APP_DATA"] = str(self._site.cache / "downloads" / "virtualenv")
        environ["VIRTUALENV_CONFIG_FILE"] = os.devnull
        return environ
