"""What reaches a worker and nobody else: secrets for the command, credentials for the installer; unlinked once read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from runner.errors import MlrunError
from runner.worker.codec import decode, encode
from runner.worker.files import canonical, read_json, write_once
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Baggage:
    """secrets.json, which lies in a run directory from its submission to its start, and never again."""

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    installer: Mapping[str, str] = field(default_factory=dict, repr=False)  # variables for uv: UV_INDEX_..._PASSWORD


def unpack(run: RunDirectory) -> Baggage:
    """Return what the run was given, and remove the file."""
    try:
        data = read_json(run.secrets)
    except FileNotFoundError:
        return Baggage()
    finally:
        run.secrets.unlink(missing_ok=True)
    return decode(Baggage, data, "secrets.json")


def unpack_for_later(run: RunDirectory) -> Baggage:
    """As ``unpack``, but leave the command's secrets, and nothing else, for the machine that will run it."""
    luggage = unpack(run)
    if luggage.secrets:
        write_once(run.secrets, canonical(encode(Baggage(luggage.secrets))))
    return luggage


def check(baggage: Baggage, spec: RunSpec) -> None:
    """Refuse a run whose declared secrets have no value."""
    missing = [name for name in spec.secrets if name not in baggage.secrets]
    if missing:
        message = f"no value for the secret {', '.join(missing)}"
        raise MlrunError(message, hint="set it in the environment that you start mlrun from")
