"""Python interpreters of this host: their identity, kept by the state of their file, so that a warm run starts none."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from runner.errors import FormatError, StoreError
from runner.worker.codec import decode, encode
from runner.worker.files import canonical, read_json
from runner.worker.files import replace as rewrite
from runner.worker.hashing import sha256_of, sha256_of_file
from runner.worker.spec import Interpreter
from runner.worker.stat_cache import stat_key
from runner.worker.tools import call

_PATIENCE = 60.0  # seconds an interpreter may take to say who it is
_HIDDEN = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")

_ASK = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "path": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "version": platform.python_version(),
    "implementation": sys.implementation.name,
    "cache_tag": sys.implementation.cache_tag or "",
    "abi": sysconfig.get_config_var("SOABI") or "",
    "build": " ".join(list(platform.python_build()) + [platform.python_compiler()]),
    "platform": sysconfig.get_platform(),
}))
"""


class Interpreters:
    """The identities of a host's interpreters, kept in one file of the cache."""

    def __init__(self, cache: Path, environ: Mapping[str, str]) -> None:
        """Name the cache's directory; ``environ`` is what the interpreters are asked with."""
        self._path = cache / "interpreters.json"
        self._environ = {name: value for name, value in environ.items() if name not in _HIDDEN}
        self._known: Optional[dict[str, Any]] = None

    def identify(self, executable: Path) -> Optional[Interpreter]:
        """Return who an executable is, after its links and virtual environments; None where it runs no Python."""
        try:
            state = self._state(executable)
        except OSError:
            return None
        known = self._read().get(str(executable))
        if known is not None and known[0] == state:
            with contextlib.suppress(FormatError):
                interpreter = decode(Interpreter, known[1])
                if os.path.exists(interpreter.path):
                    return interpreter
        answer = self._ask(executable)
        if answer is not None:
            self._learn(str(executable), state, answer)
        return answer

    def _ask(self, executable: Path) -> Optional[Interpreter]:
        try:
            done = call([executable, "-I", "-c", _ASK], env=self._environ, timeout=_PATIENCE)
            answer = json.loads(done.stdout) if done.code == 0 else None
            if answer is None:
                return None
            return decode(Interpreter, {**answer, "sha256": sha256_of_file(answer["path"])})
        except (OSError, ValueError, KeyError, TypeError, FormatError, subprocess.SubprocessError):
            return None

    def _state(self, executable: Path) -> list[Any]:
        """What changes when another interpreter answers to a path."""
        state: list[Any] = list(stat_key(os.stat(executable)))
        if is_script(executable):  # a pyenv shim answers by the directory and the environment it is called in
            state.append(sha256_of(canonical(list(self._shim_state()))))
        return state

    def _shim_state(self) -> Iterable[str]:
        root = self._environ.get("PYENV_ROOT") or os.path.join(self._environ.get("HOME", "/"), ".pyenv")
        yield self._environ.get("PYENV_VERSION", "")
        yield self._environ.get("PATH", "")
        here = self._environ.get("PYENV_DIR") or os.getcwd()
        names = [str(folder / ".python-version") for folder in (Path(here), *Path(here).parents)]
        for name in (*names, os.path.join(root, "version")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                yield name + Path(name).read_text(encoding="utf-8")

    def _read(self) -> dict[str, Any]:
        if self._known is None:
            self._known = {}
            with contextlib.suppress(OSError, FormatError):
                content = read_json(self._path)
                if isinstance(content, dict) and content.get("version") == 1:
                    known = content.get("known")
                    self._known = known if isinstance(known, dict) else {}
        return self._known

    def _learn(self, executable: str, state: list[Any], interpreter: Interpreter) -> None:
        self._known = None  # another process may have learned something too
        known = {**self._read(), executable: [state, encode(interpreter)]}
        self._known = known
        with contextlib.suppress(OSError, StoreError):  # a cache that cannot be written costs time, nothing else
            self._path.parent.mkdir(parents=True, exist_ok=True)
            rewrite(self._path, canonical({"version": 1, "known": known}))


def is_script(executable: Path) -> bool:
    """Whether a file is started by another program: a pyenv shim, a wrapper."""
    with open(executable, "rb") as stream:
        return stream.read(2) == b"#!"


def same(one: Interpreter, other: Interpreter) -> bool:
    """Whether two interpreters are one, wherever they lie."""
    return replace(one, path="") == replace(other, path="")


def describe(interpreter: Interpreter) -> str:
    """Return an interpreter in words: "Python 3.11.7 (/usr/bin/python3.11)"."""
    name = "Python " if interpreter.implementation == "cpython" else ""
    return f"{name}{spoken(interpreter)} ({interpreter.path})"


def spoken(interpreter: Interpreter) -> str:
    """Return an interpreter's version as a request would name it: "3.11.7", "3.13.0t", "pypy3.10.14"."""
    name = "" if interpreter.implementation == "cpython" else interpreter.implementation
    return f"{name}{interpreter.version}{'t' if is_free_threaded(interpreter) else ''}"


def is_free_threaded(interpreter: Interpreter) -> bool:
    """Whether a build works without the global lock."""
    return re.match(r"(cpython|pypy)-?\d+t", interpreter.abi) is not None
