"""The values that all groups of a record share, and the rules that they keep."""

from __future__ import annotations

import re
from pathlib import Path

from runner.errors import FormatError
from runner.worker.values import dataclass

BASES = frozenset({"declared", "observed", "traced", "inferred", "logged", "measured"})  # how a fact is known

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")  # UTC, milliseconds
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBERS = frozenset({"NaN", "Infinity", "-Infinity"})

Number = float | str  # NaN and infinities as text


@dataclass(frozen=True)
class Digest:
    """The digest of bytes."""

    sha256: str

    def __post_init__(self) -> None:
        """Refuse what is no sha256."""
        require(_SHA256.fullmatch(self.sha256) is not None, f"{self.sha256!r} is no sha256")


def require(condition: bool, message: str) -> None:
    """Raise FormatError where a rule of the format is broken."""
    if not condition:
        raise FormatError(message, hint="the record was changed by hand, or made by another version of mlrun")


def require_number(value: Number) -> None:
    """Raise FormatError for text that is no number as records write it."""
    known = value in _NUMBERS if isinstance(value, str) else value - value == 0
    require(known, f"{value!r} is no number as records have it")


def digest(sha256: str | None) -> Digest | None:
    """Return a digest, where there is one."""
    return None if sha256 is None else Digest(sha256)


def uri(path: str) -> str:
    """Return an absolute path as a URI, whatever bytes it holds; another path, and a URI, as it is."""
    return Path(path).as_uri() if path.startswith("/") else path
