"""What a machine has for runs, and what it lacks, each with its cure."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Optional
from urllib.error import URLError
from urllib.parse import urlsplit

from runner.worker.environment.uv import on_path, unfit
from runner.worker.execution.host import host_facts
from runner.worker.remote.kit import this_machine
from runner.worker.remote.site import Site
from runner.worker.tools import TimedOut, call
from runner.worker.values import dataclass

_LITTLE = 2 << 30  # bytes: an environment with a deep learning framework needs more
_SHIPPED = "`ship_packages = true` in hosts.toml, or `mlrun host add --force ... --ship-packages`: they are sent"
_PATIENCE = 5.0  # seconds for an index to answer
_SLURM_PATIENCE = 15.0  # for its controller
_PING = "`scontrol ping` there; say in `setup` what leads to the cluster (`export SLURM_CONF=...`)"
_ENGINES = ("podman", "docker", "apptainer", "singularity")
_SLURM = ("sbatch", "squeue", "scancel", "scontrol")


@dataclass(frozen=True)
class Question:
    """What the near end wants to know of a host."""

    launcher: str = "direct"
    container_engine: str = ""
    index: str = ""  # URL of a package index, without a password; "": none is configured
    ships_packages: bool = False
    machine: str = ""  # the near end's kind
    python: str = ""  # the one that is to carry the worker


@dataclass(frozen=True)
class Item:
    """A thing looked at: what was found, or a problem with its cure."""

    what: str
    found: str
    cure: str = ""
    is_problem: bool = False  # else the cure is advice


def check(site: Site, asked: Question) -> "tuple[Item, ...]":
    """Look at this machine."""
    return (*_machine(asked), *_disk(site), *_programs(asked), *_index(asked))


def _machine(asked: Question) -> Iterator[Item]:
    facts = host_facts()
    yield Item("machine", f"{facts.hostname}, {facts.os}, {facts.machine}")
    found = f"{sys.version.split()[0]} at {sys.executable}"
    if asked.python and shutil.which(asked.python) is None:
        cure = "name one that is there: `mlrun host add --force ... --python PATH`"
        yield Item("python", f"{found}, because there is no {asked.python}", cure, is_problem=True)
    else:
        yield Item("python", found)
    memory = "" if facts.memory is None else f", {facts.memory / 2**30:.0f} GiB"
    yield Item("processors", f"{facts.cpus} x {facts.cpu_model or 'unknown'}{memory}")
    yield Item("gpus", ", ".join(gpu.model for gpu in facts.gpus) or "none")
    yield from _uv(asked)


def _uv(asked: Question) -> Iterator[Item]:
    here, found = this_machine(), on_path()
    if found is not None:
        reason = unfit(found)
        yield Item("uv", f"{found} {reason}" if reason else found, "one is sent with the first run" if reason else "")
    elif asked.machine and here.kind != asked.machine:
        cure = f"the same version for {here.family} is fetched from your package index with the first run, and sent"
        yield Item("uv", f"that of your own machine ({asked.machine}) does not run there ({here.kind})", cure)


def _disk(site: Site) -> Iterator[Item]:
    for what, place in (("home", site.home), ("cache", site.cache)):
        there = _existing(place)
        usage = shutil.disk_usage(there)
        text = f"{place}, {usage.free / 2**30:.1f} GiB free"
        if not os.access(there, os.W_OK | os.X_OK):
            yield Item(what, f"{text}, not writable", f"give the host another `{what}`", is_problem=True)
        elif os.statvfs(there).f_flag & getattr(os, "ST_NOEXEC", 0):
            cure = f"give the host another `{what}`: environments, and what projects bring, have to run"
            yield Item(what, f"{text}, programs cannot be run from there (noexec)", cure, is_problem=True)
        elif usage.free < _LITTLE:
            yield Item(what, text, f"free some space there, or give the host another `{what}`", is_problem=True)
        else:
            yield Item(what, text)


def _existing(place: Path) -> Path:
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def _programs(asked: Question) -> Iterator[Item]:
    bash = shutil.which("bash")
    cure = "" if bash else "install bash there: commands are run by it"
    yield Item("bash", bash or "none", cure, is_problem=bash is None)
    yield _slurm(asked)
    engines = [name for name in _ENGINES if shutil.which(name)]
    wanted = asked.container_engine
    if wanted and shutil.which(wanted) is None:
        found = f"{wanted} is not there; found {', '.join(engines) or 'none'}"
        yield Item("containers", found, f"install {wanted}, or name another `container_engine`", is_problem=True)
    else:
        yield Item("containers", ", ".join(engines) or "none")
    git = shutil.which("git")
    yield Item("git", git or "none", "" if git else "only packages from repositories need it")


def _slurm(asked: Question) -> Item:
    missing = [name for name in _SLURM if shutil.which(name) is None]
    if asked.launcher != "slurm":
        found = "none" if missing else f"found at {shutil.which('sbatch')}"
        return Item("slurm", found, "" if missing else "`--launcher slurm` submits runs as jobs")
    if missing:
        cure = "say in `setup` what puts it on PATH (`module load slurm`), or use a login node"
        return Item("slurm", f"{', '.join(missing)} not on PATH", cure, is_problem=True)
    try:
        said = call(["scontrol", "ping"], timeout=_SLURM_PATIENCE)
    except TimedOut:
        return Item("slurm", f"no word from it in {_SLURM_PATIENCE:.0f} s", _PING, is_problem=True)
    if " is UP" in said.text:
        return Item("slurm", f"found at {shutil.which('sbatch')}, and answers")
    lines = (said.complaint or said.text).splitlines() or ["no word"]
    return Item("slurm", f"it does not answer: {lines[-1].strip()}", _PING, is_problem=True)


def _index(asked: Question) -> Iterator[Item]:
    if asked.ships_packages:
        yield Item("packages", "are sent from your own machine")
        return
    if not asked.index:
        yield Item("packages", "no index is configured on your own machine")
        return
    reason = _unreached(asked.index)
    host = urlsplit(asked.index).netloc
    if reason is None:
        yield Item("packages", f"{host} is reached")
    else:
        yield Item("packages", f"{host} is not reached: {reason}", _SHIPPED, is_problem=True)


def _unreached(url: str) -> Optional[str]:
    from urllib.request import Request, urlopen

    if urlsplit(url).scheme not in ("http", "https"):
        return "it is no web address"
    try:
        with urlopen(Request(url, method="HEAD"), timeout=_PATIENCE):  # noqa: S310 - the scheme was looked at
            return None
    except URLError as error:
        code = getattr(error, "code", None)
        if code is not None and code < 500:  # noqa: PLR2004 - it has answered
            return None
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
