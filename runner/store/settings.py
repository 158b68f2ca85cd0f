"""The user's own settings: `config.toml` in the configuration directory. No file means the defaults."""

from __future__ import annotations

import re
from dataclasses import field
from pathlib import Path

from runner.errors import FormatError, StoreError
from runner.store.home import config
from runner.worker.codec import decode
from runner.worker.values import dataclass

VERSION = 1
_ORCID = re.compile(r"(?:https://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])")


@dataclass(frozen=True)
class Identity:
    """Who you are, and under what terms you share: what exports say and no machine knows."""

    license: str = ""  # an SPDX identifier, or a URL
    organisation: str = ""  # its name
    organisation_url: str = ""  # its ROR, or its page
    orcid: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no ORCID iD."""
        if self.orcid and not _ORCID.fullmatch(self.orcid):
            message = f"identity.orcid: {self.orcid!r} is no ORCID iD"
            raise FormatError(message, hint="it looks like 0000-0002-1825-0097")


@dataclass(frozen=True)
class Sign:
    """How records are signed."""

    key: str = ""  # a private key of SSH, or a public one whose private half the agent has; "": git's, else ~/.ssh/id_*
    always: bool = False  # every run that ends here


@dataclass(frozen=True)
class Verify:
    """Whose signatures count."""

    allowed_signers: str = ""  # a file as ssh-keygen has it


@dataclass(frozen=True)
class Settings:
    """config.toml."""

    identity: Identity = field(default_factory=Identity)
    sign: Sign = field(default_factory=Sign)
    verify: Verify = field(default_factory=Verify)
    version: int = VERSION


def path() -> Path:
    """Return where the settings lie, whether there are any or not."""
    return config() / "config.toml"


def read() -> Settings:
    """Return the user's settings; FormatError says what is wrong in the file."""
    place = path()
    if not place.exists():  # the usual case, on a warm path
        return Settings()
    from runner.worker.environment.locks.toml import loads

    try:
        settings = decode(Settings, loads(place.read_bytes()), "")
    except FormatError as error:
        raise FormatError(f"{place}: {error.message}", hint=error.hint or "docs/sharing.md names the keys") from None
    except OSError as error:
        message = f"cannot read {place}: {error.strerror}"
        raise StoreError(message, hint="point MLRUN_CONFIG at a directory you can read") from error
    if settings.version != VERSION:
        message = f"{place} is of version {settings.version}; this mlrun reads {VERSION}"
        raise FormatError(message, hint="upgrade mlrun")
    return settings
