"""The user's own conda, mamba or micromamba, where it is asked for: it solves and installs the channels' packages."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional
from urllib.parse import unquote, urlsplit

from runner.errors import EnvironmentBuildError
from runner.worker.environment.conda.lockfile import CondaLock, CondaPackage
from runner.worker.environment.logins import redacted
from runner.worker.environment.site import Site
from runner.worker.hashing import sha256_of_file
from runner.worker.tools import Finished, stream
from runner.worker.values import dataclass

_NAMES = ("conda", "mamba", "micromamba")
_TOKEN = re.compile(r"(?<=/)t/[^/\s]+/")
_PRIORITIES = {"strict": "--strict-channel-priority", "disabled": "--no-channel-priority"}
# Its cache of packages is the user's: what is edited in an environment must not reach it.
_COPY = {"CONDA_ALWAYS_COPY": "true", "MAMBA_ALWAYS_COPY": "true"}


@dataclass(frozen=True)
class Program:
    """A program of this host that makes conda environments."""

    path: str
    name: str  # conda 24.1.0


def of(site: Site) -> Optional[Program]:
    """Return the program to use; None where none is asked for, or none is here and py-rattler does its work."""
    if site.wanted.manager != "conda":
        return None
    found = find(os.environ)
    if found is None:
        site.say("there is no conda, mamba or micromamba on this host: py-rattler does it")
    return found


def find(environ: Mapping[str, str]) -> Optional[Program]:
    """Return the user's program: as MLflow's variables name it, as conda's own do, else the first on PATH."""
    home, word = environ.get("MLFLOW_CONDA_HOME"), environ.get("MLFLOW_CONDA_CREATE_ENV_CMD")
    path = environ.get("PATH", "")
    places = f"{home}/bin{os.pathsep}{home}/condabin{os.pathsep}{path}" if home else path
    names = [*([word] if word else []), *_NAMES]
    known = [] if home or word else [environ[name] for name in ("CONDA_EXE", "MAMBA_EXE") if environ.get(name)]
    for candidate in (*known, *(shutil.which(name, path=places) for name in names)):
        if candidate and os.access(candidate, os.X_OK):
            return Program(candidate, _version(candidate))
    return None


def solve(site: Site, program: Program, specs: "list[str]", prefix: Path) -> tuple[CondaPackage, ...]:
    """Have the program make an environment at ``prefix``, and return what it took; the channels alone are asked."""
    words = ["--override-channels", *(word for url in site.wanted.channels for word in ("--channel", url))]
    words += [_PRIORITIES[word] for word in (site.wanted.channel_priority,) if word in _PRIORITIES]
    _create(site, program, prefix, "the conda packages cannot be solved", *words, *specs)
    packages = tuple(_package(meta) for meta in _metas(prefix) if meta.get("url"))
    unknown = [one.name for one in packages if not one.sha256]
    if unknown:
        message = f"{program.name} does not say the sha256 of {', '.join(unknown)}, and a lock names each"
        raise EnvironmentBuildError(message, hint="leave `--env-manager conda` out: py-rattler hashes what it fetches")
    return packages


def install(site: Site, program: Program, lock: CondaLock, prefix: Path) -> None:
    """Have the program install what a lock names; EnvironmentBuildError where it took another archive."""
    for one in lock.packages:
        if one.url.startswith("file:"):
            _expect_hash(one, Path(unquote(urlsplit(one.url).path)))
    site.say(f"installing {len(lock.packages)} conda packages with {program.name}")
    file = site.scratch / "explicit.txt"
    lines = [f"{one.url}#{one.md5 or 'sha256:' + one.sha256}\n" for one in lock.packages]
    file.write_text("@EXPLICIT\n" + "".join(lines), encoding="utf-8")
    _create(site, program, prefix, "the conda packages cannot be installed", "--file", str(file))
    wanted = {one.name: one.sha256 for one in lock.packages}
    for meta in _metas(prefix):
        if meta.get("sha256") and wanted.pop(str(meta["name"]), None) not in (None, meta["sha256"]):
            raise _other_archive(str(meta["name"]), str(meta["sha256"]))


def _create(site: Site, program: Program, prefix: Path, failure: str, *words: str) -> None:
    site.scratch.mkdir(parents=True, exist_ok=True)
    done = stream(
        [program.path, "create", "--yes", "--quiet", "--prefix", str(prefix), *words],
        lambda _: None,
        cwd=site.scratch,
        env={**os.environ, **_COPY, **({"CONDA_OFFLINE": "true"} if site.placement.offline else {})},
    )
    if done.code != 0 or not (prefix / "conda-meta").is_dir():
        message = f"{failure}: {program.name}: {_reason(done)}"
        raise EnvironmentBuildError(
            message, hint="see what it says by itself; without `--env-manager conda` it is not used"
        )


def _reason(done: Finished) -> str:
    lines = [line.strip() for line in done.complaint.splitlines() if line.strip()]
    telling = next((line for line in lines if re.match(r"(?i)(critical|error|\w+error:)", line)), "")
    words = telling or (lines[-1] if lines else f"it ended with code {done.code}")
    return redacted(_TOKEN.sub("", words))[:700]


def _metas(prefix: Path) -> Iterator[Mapping[str, Any]]:
    for path in sorted(prefix.glob("conda-meta/*.json")):
        yield json.loads(path.read_bytes())


def _package(meta: Mapping[str, Any]) -> CondaPackage:
    url = _TOKEN.sub("", redacted(str(meta["url"])))
    noarch = meta.get("noarch")
    return CondaPackage(
        name=str(meta["name"]),
        version=str(meta["version"]),
        build=str(meta.get("build") or meta.get("build_string") or ""),
        build_number=int(meta.get("build_number") or 0),
        subdir=str(meta.get("subdir") or url.rsplit("/", 2)[-2]),
        url=url,
        sha256=str(meta.get("sha256") or ""),
        md5=meta.get("md5"),
        size=meta.get("size"),
        timestamp=meta.get("timestamp"),
        noarch=noarch if noarch in ("python", "generic") else None,
        depends=tuple(map(str, meta.get("depends") or ())),
        constrains=tuple(map(str, meta.get("constrains") or ())),
    )


def _expect_hash(one: CondaPackage, path: Path) -> None:
    try:
        found = sha256_of_file(path)
    except OSError as error:
        message = f"the conda packages cannot be installed: {path}: {error.strerror}"
        raise EnvironmentBuildError(
            message, hint="what a channel has dropped, `mlrun lock --upgrade` replaces"
        ) from error
    if found != one.sha256:
        raise _other_archive(path.name, found)


def _other_archive(name: str, found: str) -> EnvironmentBuildError:
    message = f"{name} is not the archive that was locked: it has sha256 {found}"
    hint = "the archive was replaced: `--upgrade` (`mlrun run`, `mlrun lock`) if on purpose; else do not trust it"
    return EnvironmentBuildError(message, hint=hint)


def _version(path: str) -> str:
    from runner.worker.tools import call

    words = call([path, "--version"]).text.split()
    name = os.path.basename(path)
    version = next((word for word in words if word[:1].isdigit()), "")
    return f"{name} {version}".strip()
