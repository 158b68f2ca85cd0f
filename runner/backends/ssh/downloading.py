"""Wheels for other machines, downloaded here by pip with the indexes and logins that pip and uv are configured with."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from runner.backends.ssh.seed import pip_wheel
from runner.errors import EnvironmentBuildError
from runner.worker.environment.logins import named, redacted, variable
from runner.worker.tools import Finished, call

_PIP_VARIABLES = {  # of uv, as pip has them; by environment, because URLs can hold passwords
    "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
    "UV_INDEX_URL": "PIP_INDEX_URL",
    "UV_INDEX": "PIP_EXTRA_INDEX_URL",
    "UV_EXTRA_INDEX_URL": "PIP_EXTRA_INDEX_URL",
    "UV_FIND_LINKS": "PIP_FIND_LINKS",
    "UV_INSECURE_HOST": "PIP_TRUSTED_HOST",
    "UV_KEYRING_PROVIDER": "PIP_KEYRING_PROVIDER",
    "MLRUN_NO_INDEX": "PIP_NO_INDEX",
}
_NOT_FETCHED = re.compile(
    r"^ *Could not fetch URL (\S+): (?:connection error: )?(?:\[Errno -?\d+\] )?"
    r"(.+?)(?: for url: \S+)?(?: - skipping)?$",
    re.MULTILINE,
)
_OLDEST = 5  # the first manylinux of glibc 2 is 2.5


def download(words: Sequence[str], installer: Mapping[str, str], directory: Path, *, cwd: Path | None = None) -> str:
    """Have pip download wheels into a directory; return "", or why it cannot. ``installer`` are variables for uv.

    URLs of indexes may not be among the words, for they can hold logins. EnvironmentBuildError where there is no pip.
    """
    pip = pip_wheel()
    if pip is None:
        message = "virtualenv is not installed here, whose pip downloads packages for other machines"
        raise EnvironmentBuildError(message, hint="install mlrun anew: virtualenv comes with it")
    argv: list[str | Path] = [sys.executable, pip / "pip", "download", "-vv", "--no-input", "--no-color"]
    argv += ["--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "-d", directory, *words]
    done = call(argv, env=_environ(installer), cwd=cwd)
    return "" if done.code == 0 else _reason(done) or f"pip ended with code {done.code}"


def manylinux(processor: str, glibc: str) -> Iterator[str]:
    """Yield the platform tags of wheels for a machine with a version of glibc ("2.36"), the closest first."""
    minor = int(glibc.split(".")[1])
    yield from (f"manylinux_2_{number}_{processor}" for number in range(minor, _OLDEST - 1, -1))
    yield from (f"{old}_{processor}" for old in ("manylinux2014", "manylinux2010", "manylinux1"))


def musllinux(processor: str) -> Iterator[str]:
    """Yield the platform tags of wheels for a machine with musl, the closest first."""
    yield from (f"musllinux_1_{number}_{processor}" for number in (2, 1))


def _reason(done: Finished) -> str:
    """Return in a line why pip failed. For pip, an index that does not answer is one without packages."""
    tried = (match.groups() for match in _NOT_FETCHED.finditer(redacted(done.text)))
    unreached = [f"{url}: {reason}" for url, reason in tried if not reason.startswith("404 ")]
    errors = re.findall(r"^ERROR: (.+)", redacted(done.complaint), re.MULTILINE)
    return (unreached or errors[-1:] or [""])[0]


def _environ(installer: Mapping[str, str]) -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    found: dict[str, list[str]] = {}
    for name, value in installer.items():
        if name in _PIP_VARIABLES:
            words = [_with_login(word, installer) for word in re.split(r"[ ,]+", value)]
            found.setdefault(_PIP_VARIABLES[name], []).extend(words)
    # The lock, or our own version, has decided: the user's constraints are for what the user installs.
    return {**environ, "PIP_CONSTRAINT": os.devnull, **{name: " ".join(words) for name, words in found.items()}}


def _with_login(word: str, installer: Mapping[str, str]) -> str:
    """Return the URL of an index; where it has a name, with the login that uv takes from variables of that name."""
    name, url = named(word)
    user, password = (quote(installer.get(variable(name, part), ""), safe="") for part in ("USERNAME", "PASSWORD"))
    return url if "@" in url or not (name and (user or password)) else url.replace("://", f"://{user}:{password}@", 1)
