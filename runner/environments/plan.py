"""From what a project says of its environment to the EnvironmentSpec: files are read, nothing is resolved."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path

from runner.environments.choice import Choice
from runner.environments.conda_channels import addresses, channels, without_login
from runner.environments.conda_env import read_conda_env
from runner.environments.installer import configured, merged
from runner.environments.python_env import read_python_env, refuse_too_old
from runner.environments.requirements import Gathered, Line, gather, spec_file
from runner.errors import FormatError, ProjectError, UsageError
from runner.worker.environment.conda.logins import VARIABLE as LOGINS
from runner.worker.environment.interpreters import versions
from runner.worker.environment.locks.toml import Table, loads
from runner.worker.spec import EnvironmentSpec, SpecFile
from runner.worker.values import dataclass

MANAGERS = ("virtualenv", "uv", "local", "conda")


@dataclass(frozen=True)
class Planned:
    """What an environment has to hold, what was odd, and variables for uv that are never recorded."""

    spec: EnvironmentSpec
    warnings: tuple[str, ...] = ()
    installer: Mapping[str, str] = field(default_factory=dict)  # may hold credentials
    unset: tuple[str, ...] = ()  # variables that channels name, and that the caller has not set

    def expect_set(self) -> None:
        """Raise ProjectError where a channel cannot be told from its name: `check` has no need of it, a run has."""
        if self.unset:
            message = f"{self.spec.source}: a channel names a variable that is not set: {self.unset[0]}"
            raise ProjectError(message, hint=f"`export {self.unset[0]}=...` before the run")


def plan(project: Path, choice: Choice, *, manager: str | None = None, caller_environ: Mapping[str, str]) -> Planned:
    """Return the environment of a project; ProjectError names file, line and key of what is wrong.

    ``manager`` is `--env-manager`: virtualenv, uv, local, conda, or None for what the project says.
    """
    if manager is not None and manager not in MANAGERS:
        message = f"{manager!r} is no environment manager"
        raise UsageError(message, hint=f"known are {', '.join(MANAGERS)}")
    if manager == "local":
        return Planned(EnvironmentSpec(kind="host", source="--env-manager local"))
    planned = _named(project, choice, manager, caller_environ) or _found(project, manager, caller_environ)
    if manager in ("virtualenv", "uv") and planned.spec.kind == "virtualenv":
        return replace(planned, spec=replace(planned.spec, manager=manager))
    return planned


def _named(project: Path, choice: Choice, manager: str | None, environ: Mapping[str, str]) -> Planned | None:
    """Plan what the MLproject names, or what lies in the project under MLflow's own names."""
    if choice.key == "docker_env":
        return _container(project, choice, environ)
    if choice.key == "python_env":
        return _python_env(project, choice.path, manager, environ)
    if choice.key == "conda_env":
        return _conda_env(project, choice.path, manager, environ)
    if (project / "python_env.yaml").is_file():
        return _python_env(project, "python_env.yaml", manager, environ)
    for name in ("conda.yaml", "conda.yml"):
        if (project / name).is_file():
            return _conda_env(project, name, manager, environ)
    return None


def _found(project: Path, manager: str | None, environ: Mapping[str, str]) -> Planned:
    """Plan from the files that other tools keep: a lock before a list, what was written for this purpose first."""
    if manager == "conda":
        message = "--env-manager conda needs a conda.yaml, and the project has none"
        raise ProjectError(message, hint="leave the option out, or name the file with `conda_env:` in the MLproject")
    if (project / "uv.lock").is_file():
        return _uv_lock(project, environ)
    if (project / "pylock.toml").is_file():
        return _pylock(project, environ)
    if (project / "requirements.txt").is_file():
        line = Line("-r requirements.txt", "requirements.txt")
        return _planned(EnvironmentSpec("virtualenv", "requirements.txt"), gather(project, [line], environ), environ)
    planned = _pyproject(project, environ) if (project / "pyproject.toml").is_file() else None
    return planned or Planned(EnvironmentSpec("virtualenv"))


def _python_env(project: Path, name: str, manager: str | None, environ: Mapping[str, str]) -> Planned:
    if manager == "conda":
        message = f"--env-manager conda cannot make an environment from {name}"
        raise ProjectError(
            message, hint="use `--env-manager virtualenv` or `uv`, or name a `conda_env:` in the MLproject"
        )
    found = read_python_env(project / name, name)
    return _with_lists(project, name, found.python, found.build, found.dependencies, environ, found.warnings)


def _conda_env(project: Path, name: str, manager: str | None, environ: Mapping[str, str]) -> Planned:
    found = read_conda_env(project / name, name)
    if manager in ("virtualenv", "uv"):
        python, warnings = found.for_virtualenv()
        return _with_lists(project, name, python, found.build, found.pip, environ, (*found.warnings, *warnings))
    gathered = gather(project, found.pip, environ, base=(project / name).parent)  # as conda has it
    gathered.files = {name: spec_file(project, project / name), **gathered.files}
    meant = channels(found.channels, project, environ, extra=found.other_channels, archives=found.archives)
    if meant.logins:
        gathered.installer[LOGINS] = json.dumps(meant.logins)

    def address(name: str) -> str:
        return without_login(addresses(name, meant.condarc, project, environ)[0])[0]

    spec = EnvironmentSpec(
        "conda",
        name,
        python=found.python,
        manager="conda" if manager == "conda" or environ.get("MLFLOW_CONDA_HOME") else None,
        channels=meant.urls,
        channel_priority=meant.priority,
        packages=found.specifications(address),
        variables=found.variables,
    )
    return replace(_planned(spec, gathered, environ, warnings=found.warnings), unset=meant.unset)


def _with_lists(
    project: Path,
    name: str,
    python: str | None,
    build: Iterable[Line],
    dependencies: Iterable[Line],
    environ: Mapping[str, str],
    warnings: Iterable[str],
) -> Planned:
    before, after = gather(project, build, environ), gather(project, dependencies, environ)
    files = {name: spec_file(project, project / name), **before.files, **after.files}
    gathered = Gathered(after.lines, files, merged(before.installer, after.installer))
    spec = EnvironmentSpec("virtualenv", name, python=python, build_requirements=tuple(before.lines))
    return _planned(spec, gathered, environ, warnings=warnings)


def _container(project: Path, choice: Choice, environ: Mapping[str, str]) -> Planned:
    missing = [name for name, value in choice.variables if value is None and name not in environ]
    if missing:
        message = f"docker_env: environment: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"
        raise ProjectError(
            message, hint=f"`export {missing[0]}=...` before the run, or give a value: [{missing[0]}, value]"
        )
    # A copied variable goes by its name: its value is the caller's, and may be a secret.
    variables = tuple(name if value is None else f"{name}={value}" for name, value in choice.variables)
    spec = EnvironmentSpec("container", "docker_env", image=choice.image, volumes=choice.volumes, variables=variables)
    return Planned(spec, tuple(_mistaken(project, choice.volumes)))


def _mistaken(project: Path, volumes: Iterable[str]) -> Iterator[str]:
    """Yield a warning for each volume that the engine keeps by a name that a directory of the project has, too."""
    for volume in volumes:
        name, colon, _ = volume.partition(":")
        if colon and re.fullmatch(r"\w[\w.-]*", name) and (project / name).is_dir():
            yield (
                f"docker_env: volumes: {volume!r} is a volume that the engine keeps, and not the project's directory"
                f" {name}: that one is './{volume}'"
            )


def _uv_lock(project: Path, environ: Mapping[str, str]) -> Planned:
    if not (project / "pyproject.toml").is_file():
        message = "uv.lock has no pyproject.toml beside it"
        raise ProjectError(message, hint="a uv.lock belongs to a pyproject.toml: add it, or remove the lock")
    table = _toml(project / "pyproject.toml", "pyproject.toml")
    files = {name: spec_file(project, project / name) for name in ("uv.lock", "pyproject.toml")}
    python = _pinned(project, files) or _requires_python(_about(table).get("requires-python"))
    return _planned(EnvironmentSpec("virtualenv", "uv.lock", python=python), Gathered(files=files), environ)


def _pylock(project: Path, environ: Mapping[str, str]) -> Planned:
    path = project / "pylock.toml"
    files = {"pylock.toml": spec_file(project, path)}
    head = path.read_bytes().split(b"[[packages]]", maxsplit=1)[0].decode("utf-8", "replace")
    match = re.search(r"^requires-python\s*=\s*[\"']([^\"']+)[\"']", head, re.MULTILINE)
    python = _requires_python(match.group(1) if match else None)
    return _planned(EnvironmentSpec("virtualenv", "pylock.toml", python=python), Gathered(files=files), environ)


def _pyproject(project: Path, environ: Mapping[str, str]) -> Planned | None:
    """Plan a pyproject.toml: installed where it says how it is built, else its dependencies."""
    table = _toml(project / "pyproject.toml", "pyproject.toml")
    about = _about(table)
    if "build-system" not in table and "project" not in table:
        return None
    lines = ["-e ."] if "build-system" in table else _dependencies(about)
    gathered = gather(project, [Line(text, "pyproject.toml") for text in lines], environ)
    gathered.files.setdefault("pyproject.toml", spec_file(project, project / "pyproject.toml"))
    python = _pinned(project, gathered.files) or _requires_python(about.get("requires-python"))
    return _planned(EnvironmentSpec("virtualenv", "pyproject.toml", python=python), gathered, environ)


def _about(table: Table) -> Table:
    about = table.get("project", {})
    if not isinstance(about, dict):
        message = "pyproject.toml: project: a table is expected"
        raise ProjectError(message, hint="write `[project]` on a line of its own, and what it holds below")
    return about


def _dependencies(about: Table) -> list[str]:
    lines = about.get("dependencies", [])
    if not isinstance(lines, list) or not all(isinstance(one, str) for one in lines):
        message = "pyproject.toml: project.dependencies: a list of texts is expected"
        raise ProjectError(message, hint='write `dependencies = ["numpy>=2"]`')
    return lines


def _planned(
    spec: EnvironmentSpec, gathered: Gathered, environ: Mapping[str, str], *, warnings: Iterable[str] = ()
) -> Planned:
    files = tuple(gathered.files[name] for name in gathered.files)
    spec = replace(spec, files=files, requirements=tuple(gathered.lines))
    return Planned(spec, tuple(warnings), merged(configured(environ), gathered.installer))


def _toml(path: Path, name: str) -> Table:
    try:
        return loads(path.read_bytes(), name)
    except FormatError as error:
        raise ProjectError(error.message, hint="see what `uv` or `pip` says of it") from None
    except OSError as error:
        message = f"{name} cannot be read: {error.strerror}"
        raise ProjectError(message) from None


def _pinned(project: Path, files: dict[str, SpecFile]) -> str | None:
    """The version a `.python-version` names, which uv obeys."""
    path = project / ".python-version"
    if not path.is_file():
        return None
    files[".python-version"] = spec_file(project, path)
    word = path.read_text(encoding="utf-8", errors="replace").strip().partition("\n")[0].strip()
    if not word or versions.problem(word) is not None:
        return None
    refuse_too_old(word, ".python-version")
    return word


def _requires_python(text: object) -> str | None:
    return text if isinstance(text, str) and text.strip() and versions.problem(text) is None else None
