"""The `pip:` part of a conda.yaml: resolved by uv beside what the channels' packages already bring, as pip would."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from runner.errors import EnvironmentBuildError
from runner.worker.codec import encode
from runner.worker.environment.conda import rattler
from runner.worker.environment.conda.lockfile import CondaLock, CondaPackage, host_platform
from runner.worker.environment.locks import pylock
from runner.worker.environment.locks.pins import hold_to, pins_of
from runner.worker.environment.locks.pylock import normalised
from runner.worker.environment.locks.resolving import refusal
from runner.worker.environment.site import Site

_PLATFORMS = {
    "linux-64": "x86_64-unknown-linux-gnu",
    "linux-aarch64": "aarch64-unknown-linux-gnu",
    "osx-64": "x86_64-apple-darwin",
    "osx-arm64": "aarch64-apple-darwin",
}
_VERSION = re.compile(r"^\d[\w.+!-]*$")


def resolve(site: Site, lock: CondaLock, brought: "dict[str, str]", preferred: bytes = b"") -> CondaLock:
    """Return a lock with its pip part. What the conda packages have brought is kept where the requirements admit it."""
    python = lock.python
    if python is None:
        message = f"{site.wanted.source} has a pip part, and its packages bring no python"
        raise EnvironmentBuildError(message, hint="add `python` to its dependencies")
    site.say(f"resolving the pip part with {site.uv.version} for Python {python}")
    data = pylock.portable(_compiled(site, lock, python, brought, preferred), site.project)
    kept = pylock.only(data, lambda one: brought.get(one.name) != one.version)
    return replace(lock, pip=hold_to(kept, pins_of(site.wanted, site.project)).decode() if kept else "")


def brought_by(site: Site, packages: Iterable[CondaPackage]) -> dict[str, str]:
    """Return the Python distributions that the channels' packages hold: normalised name -> version."""
    python = [one for one in packages if one.noarch == "python" or any(_is_python(text) for text in one.depends)]
    if not python:
        return {}
    answer = rattler.ask(site, "distributions", packages=[encode(one) for one in python])
    return {normalised(name): version for name, version in answer["distributions"] if _VERSION.match(version)}


def _compiled(site: Site, lock: CondaLock, python: str, brought: "dict[str, str]", preferred: bytes) -> bytes:
    """Ask uv, which takes what it is shown for installed: stubs that it finds, and prefers."""
    stubs = site.scratch / "brought"
    stubs.mkdir(parents=True, exist_ok=True)
    for name, version in brought.items():
        _write_stub(stubs, name, version)
    answer = site.scratch / "pylock.pip.toml"
    answer.write_bytes(_preferences(brought, preferred))
    interpreter = site.search.alike(python)
    words = ["pip", "compile", "-", "--format", "pylock.toml", "--generate-hashes", "--no-header", "--no-annotate"]
    words += ["-q", "--python-version", python, *site.uv.options, "-o", str(answer)]
    words += ["--python", interpreter.path] if interpreter else []
    if lock.platform in _PLATFORMS and lock.platform != host_platform():
        words += ["--python-platform", _PLATFORMS[lock.platform]]
    text = "".join(line + "\n" for line in site.wanted.requirements)
    links = ",".join(filter(None, [str(stubs), site.installer.get("UV_FIND_LINKS", "")]))
    uv = replace(site.uv, installer={**site.installer, "UV_FIND_LINKS": links})
    done = uv.ask(*words, cwd=(site.project / site.wanted.source).parent, text=text)  # as conda calls pip
    if done.code != 0:
        message = f"the pip part of {site.wanted.source or 'the conda file'} cannot be resolved"
        raise refusal(site, done, site.wanted.requirements, message)
    return pylock.moved(answer.read_bytes(), site.scratch, site.project)


def _preferences(brought: "dict[str, str]", preferred: bytes) -> bytes:
    kept = pylock.only(preferred, lambda one: one.name not in brought) if preferred else b""
    lines = [f'[[packages]]\nname = "{name}"\nversion = "{version}"\n' for name, version in brought.items()]
    if not lines:
        return kept or pylock.EMPTY
    return (kept or pylock.EMPTY.replace(b"packages = []\n", b"")) + "".join(lines).encode()


def _write_stub(folder: Path, name: str, version: str) -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        files = {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            "WHEEL": "Wheel-Version: 1.0\nGenerator: mlrun\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }
        for file, text in files.items():
            archive.writestr(zipfile.ZipInfo(f"{stem}.dist-info/{file}"), text)


def _is_python(text: str) -> bool:
    return re.match(r"python(_abi)?(\s|$|[=<>!])", text) is not None
