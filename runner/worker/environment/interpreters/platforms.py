"""Platforms and Pythons that a lock can be made for, this host's or others: Python's names for them, and uv's."""

from __future__ import annotations

import re
from typing import Optional

from runner.errors import UsageError
from runner.worker.environment.interpreters import versions
from runner.worker.environment.interpreters.identity import spoken
from runner.worker.spec import Interpreter
from runner.worker.values import dataclass

# As `sysconfig.get_platform()` says them, without the version of macOS.
_OF_UV = {
    "linux-x86_64": "x86_64-unknown-linux-gnu",
    "linux-aarch64": "aarch64-unknown-linux-gnu",
    "macosx-x86_64": "x86_64-apple-darwin",
    "macosx-arm64": "aarch64-apple-darwin",
}
_ALSO = {"macos-arm64": "macosx-arm64", "macos-x86_64": "macosx-x86_64", "linux-arm64": "linux-aarch64"}
_MANYLINUX = re.compile(r"(x86_64|aarch64)-manylinux(_\d+_\d+|2014)$")


@dataclass(frozen=True)
class Target:
    """What a lock is made for."""

    python: str  # "3.11", "3.11.7"
    platform: str  # "linux-aarch64"
    triple: Optional[str] = None  # uv's name of it, where it is another than this host

    def __str__(self) -> str:
        """As people say it."""
        return f"Python {self.python} on {self.platform}"

    @property
    def options(self) -> tuple[str, ...]:
        """What uv is told of it."""
        return ("--python-version", self.python, *(("--python-platform", self.triple) if self.triple else ()))

    @property
    def slug(self) -> str:
        """A name for a file, without the dots that PEP 751 forbids in it: linux-aarch64-py311."""
        implementation, free, series = versions.flavour(self.python)
        name = "py" if implementation == "cpython" else implementation
        return f"{neutral(self.platform)}-{name}{''.join(map(str, series))}{'t' * free}"


def here(interpreter: Interpreter) -> Target:
    """Return what an interpreter of this host is."""
    return Target(spoken(interpreter), interpreter.platform)


def there(name: str, python: str) -> Target:
    """Return a platform by Python's name or by uv's; UsageError lists those that are known."""
    manylinux = _MANYLINUX.match(name)
    if manylinux:
        return Target(python, f"linux-{manylinux[1]}", name)
    of_python = {triple: known for known, triple in _OF_UV.items()}
    platform = of_python.get(name) or _ALSO.get(name, neutral(name))
    if platform not in _OF_UV:
        message = f"{name!r} is no platform that a lock can be made for"
        raise UsageError(message, hint=f"known are {', '.join(_OF_UV)}, and uv's names such as x86_64-manylinux_2_28")
    return Target(python, platform, _OF_UV[platform])


def same_platform(one: str, other: str) -> bool:
    """Whether two names mean one platform, whichever macOS they were made on."""
    return neutral(one) == neutral(other)


def neutral(platform: str) -> str:
    """Return a platform's name without the version of macOS."""
    return re.sub(r"^macosx-[\d.]+-", "macosx-", platform)
