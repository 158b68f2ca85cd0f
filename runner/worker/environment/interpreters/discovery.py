"""Finds the interpreter an environment asks for: mlrun's own, on PATH, pyenv's, uv's, conda's, or installed by uv."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Callable, Optional

from runner.errors import EnvironmentBuildError
from runner.worker.environment.interpreters import versions
from runner.worker.environment.interpreters.identity import (
    Interpreters,
    describe,
    is_free_threaded,
    is_script,
    same,
    spoken,
)
from runner.worker.environment.uv import Uv
from runner.worker.facts import Gap
from runner.worker.spec import EnvironmentSpec, Interpreter
from runner.worker.values import dataclass

_NAME = re.compile(r"(?:python|pypy)(\d+(?:\.\d+)?)?t?$")
_CONDA_ROOTS = ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba")  # in the home directory
_PLACES = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")

Places = Callable[[], Iterator[tuple[str, Path]]]


@dataclass(frozen=True)
class Found:
    """An interpreter, and what is not as it was asked for."""

    interpreter: Interpreter
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True)
class Search:
    """Where to look: the interpreters known of, the one mlrun was started with, and what uv may do."""

    interpreters: Interpreters
    own: Optional[str]  # placement.python
    environ: Mapping[str, str]
    say: Callable[[str], None]
    uv: Callable[[], Uv]
    offline: bool = False
    lenient: bool = False  # where the recorded version cannot be had, one of its series will do

    def find(self, wanted: EnvironmentSpec) -> Found:
        """Return the interpreter of an environment; EnvironmentBuildError says what to install."""
        if wanted.interpreter is not None:
            return self._pinned(wanted.interpreter)
        default = self.default()
        if wanted.python is None:
            if default is None:
                message = "there is no Python on this host"
                raise EnvironmentBuildError(message, hint="install one: `uv python install 3.12`")
            return Found(default)
        if default is not None and not versions.is_exact(wanted.python) and fits(wanted.python, default):
            return Found(default)
        found = self._newest(wanted.python) or self._install(wanted.python, wanted.source)
        return Found(found)

    def alike(self, version: str) -> Optional[Interpreter]:
        """Return an interpreter of a version's series, else any that is here: for what only asks about a version."""
        return self._newest(".".join(version.split(".")[:2])) or self.default()

    def default(self) -> Optional[Interpreter]:
        """Return the interpreter mlrun runs with, else the first on PATH."""
        if self.own is not None:
            interpreter = self.interpreters.identify(Path(self.own))
            if interpreter is not None:
                return interpreter
        for _, path in self._candidates():
            interpreter = self.interpreters.identify(path)
            if interpreter is not None:
                return interpreter
        return None

    def _pinned(self, pinned: Interpreter) -> Found:
        """Return the very interpreter of a past run; where its build is not here, the same version, said as a gap."""
        here = self.interpreters.identify(Path(pinned.path))
        if here is not None and same(here, pinned):
            return Found(here)
        request = spoken(pinned)
        alike = [*self._matching(request), *self._matching(request, self._kept_by_conda)]
        for one in alike:
            if same(one, pinned):
                return Found(one)
        found = alike[0] if alike else self._install_or_alike(request, pinned)
        if same(found, pinned):
            return Found(found)
        reason = f"the recorded build ({pinned.build}) is not on this host; {found.path} is {found.build}"
        if found.version != pinned.version:
            reason = f"Python {pinned.version} of the record is not on this host; {found.path} is {found.version}"
            self.say(
                f"note: Python {pinned.version} of the record is not here, and not to be had: {found.version} is used"
            )
            return Found(found, (Gap("environment.interpreter", reason),))
        self.say(f"note: Python {pinned.version} is here, but not the recorded build of it: {found.path} is used")
        return Found(found, (Gap("environment.interpreter", reason),))

    def _install_or_alike(self, request: str, pinned: Interpreter) -> Interpreter:
        try:
            return self._install(request, "the record")
        except EnvironmentBuildError:
            series = ".".join(map(str, versions.release_of(pinned.version)[:2])) + "t" * is_free_threaded(pinned)
            near = [one for one in self._matching(series) if one.implementation == pinned.implementation]
            if not (self.lenient and near):
                raise
            return max(near, key=_rank)

    def _newest(self, request: str) -> Optional[Interpreter]:
        found = self._matching(request)
        # The user removes conda's environments as a matter of course, and an environment made from one dies with it.
        return max(found or self._matching(request, self._kept_by_conda), key=_rank, default=None)

    def _matching(self, request: str, places: "Optional[Places]" = None) -> list[Interpreter]:
        own = [] if self.own is None else [("", Path(self.own))]
        found = places() if places else (*own, *self._candidates())
        likely = [path for hint, path in found if not hint or versions.may_admit(request, hint)]
        known = (self.interpreters.identify(path) for path in likely)
        return [one for one in known if one is not None and fits(request, one)]

    def _candidates(self) -> Iterator[tuple[str, Path]]:
        """Executables with the version their name tells, "" where it tells none; every file once."""
        seen = set()
        for hint, path in (*self._on_path(), *self._kept_by_pyenv(), *self._kept_by_uv()):
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                yield hint, path

    def _on_path(self) -> Iterator[tuple[str, Path]]:
        for place in (*self.environ.get("PATH", "").split(os.pathsep), *_PLACES):
            for name in sorted(_names(place), reverse=True) if os.path.isabs(place) else ():
                match, path = _NAME.match(name), Path(place, name)
                if match and os.access(path, os.X_OK) and path.is_file() and not is_script(path):
                    series = match.group(1) or ""
                    yield series if "." in series else "", path

    def _kept_by_pyenv(self) -> Iterator[tuple[str, Path]]:
        root = Path(self.environ.get("PYENV_ROOT") or Path(self.environ.get("HOME", "/"), ".pyenv"), "versions")
        for name in _names(root):
            path = root / name / "bin" / "python"
            if path.exists():
                yield name if name[0].isdigit() else "", path

    def _kept_by_uv(self) -> Iterator[tuple[str, Path]]:
        data = self.environ.get("XDG_DATA_HOME") or Path(self.environ.get("HOME", "/"), ".local", "share")
        root = Path(self.environ.get("UV_PYTHON_INSTALL_DIR") or Path(data, "uv", "python"))
        for name in _names(root):
            path = root / name / "bin" / "python3"
            if path.exists():
                parts = name.split("-")
                yield parts[1].split("+")[0] if len(parts) > 1 else "", path

    def _kept_by_conda(self) -> Iterator[tuple[str, Path]]:
        home = Path(self.environ.get("HOME", "/"))
        named = [self.environ.get(name, "") for name in ("CONDA_PREFIX", "MAMBA_ROOT_PREFIX", "CONDA_ROOT")]
        roots = [Path(name) for name in named if name] + [home / name for name in _CONDA_ROOTS] + [Path("/opt/conda")]
        inside = [root / "envs" / name for root in roots for name in _names(root / "envs")]
        for prefix in dict.fromkeys((*roots, *inside, *_listed(home / ".conda" / "environments.txt"))):
            if (prefix / "bin" / "python").exists():
                yield "", prefix / "bin" / "python"

    def _install(self, request: str, source: str) -> Interpreter:
        by = f" (asked for by {source})" if source else ""
        hint = f"install it: `uv python install {_spoken(request)}` or `pyenv install {_spoken(request)}`"
        message = f"Python {request}{by} is not on this host; {self._here()}"
        if self.offline or self.environ.get("UV_PYTHON_DOWNLOADS") in ("never", "manual"):
            raise EnvironmentBuildError(message, hint=hint)
        self.say(f"Python {request} is not here: uv installs it")
        done = self.uv().run("python", "install", "--no-bin", request, downloads=True)
        found = self._newest(request) if done.code == 0 else None
        if found is None:
            reason = self.uv().reason(done)
            raise EnvironmentBuildError(f"{message}; uv cannot install it: {reason}", hint=hint)
        return found

    def _here(self) -> str:
        places = (*self._candidates(), *self._kept_by_conda())
        known = {spoken(one) for one in (self.interpreters.identify(path) for _, path in places) if one}
        return "found " + ", ".join(sorted(known, key=versions.release_of)) if known else "there is none at all"


def host(interpreters: Interpreters, environ: Mapping[str, str]) -> Optional[tuple[Path, Interpreter]]:
    """Return the `python` (else `python3`) a command finds on PATH, and who it is."""
    for name in ("python", "python3"):
        for place in environ.get("PATH", "").split(os.pathsep):
            path = Path(place, name)
            if place and os.access(path, os.X_OK) and path.is_file():
                interpreter = interpreters.identify(path)
                if interpreter is not None:
                    return path, interpreter
    return None


def fits(request: str, interpreter: Interpreter) -> bool:
    """Whether an interpreter is what a request means."""
    threaded = not is_free_threaded(interpreter)
    return versions.admits(request, interpreter.version, threaded=threaded, implementation=interpreter.implementation)


def _rank(interpreter: Interpreter) -> tuple[bool, versions.Release]:
    version = interpreter.version
    return (not versions.is_preview(version), versions.release_of(version))


def _spoken(request: str) -> str:
    return request if versions.is_exact(request) else f'"{request}"'


def _listed(path: Path) -> list[Path]:
    try:
        return [Path(line) for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("/")]
    except (OSError, UnicodeDecodeError):
        return []


def _names(directory: "str | Path") -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


__all__ = ["Found", "Search", "describe", "fits", "host"]
