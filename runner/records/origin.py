"""imported.json: where a run that was made in another store came from, and what was left out on the way."""

from __future__ import annotations

from runner.worker.codec import decode, encode
from runner.worker.files import pretty, read_json, write_once
from runner.worker.rundir import RunDirectory
from runner.worker.values import dataclass

VERSION = 1


@dataclass(frozen=True)
class Origin:
    """What is known of a run's way here. Its places, processes and hosts are another machine's."""

    at: str  # when it came
    source: str  # the file or the remote, without userinfo
    without: tuple[str, ...] = ()  # files of the run directory that were left out
    objects: tuple[str, ...] = ()  # that came with it: named here, so that they are no garbage
    version: int = VERSION


def origin_of(run: RunDirectory) -> Origin | None:
    """Return where a run came from; None for one that was made here. FormatError where the file is damaged."""
    try:
        return decode(Origin, read_json(run.imported), str(run.imported))
    except FileNotFoundError:
        return None


def write_origin(run: RunDirectory, origin: Origin) -> None:
    """Say where a run came from."""
    write_once(run.imported, pretty(encode(origin)), followed=True)
