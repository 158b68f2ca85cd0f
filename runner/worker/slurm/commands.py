"""Slurm's commands, called so that nothing in the caller's environment changes what they do or print."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Optional

from runner.errors import BackendError
from runner.worker.facts import Launching
from runner.worker.tools import Finished, TimedOut, call

PATIENCE = 30.0  # seconds for an answer: the commands try for some seconds themselves where no controller is there
_FOREIGN = ("SLURM_", "SQUEUE_", "SCANCEL_", "SCONTROL_")  # of a job that we are in, or of the user's own tables
_KEPT = frozenset({"SLURM_CONF"})
_UNWANTED = frozenset({"SBATCH_ARRAY_INX", "SBATCH_WAIT"})  # what no option undoes
_ASK = "`scontrol ping` says whether the controller is up; ask again later"


class SilentError(BackendError):
    """Slurm does not answer, or cannot be asked from here."""


def slurm(
    *argv: str,
    access: Optional[Launching] = None,
    stdin: bytes = b"",
    without: Collection[str] = (),
    patience: float = PATIENCE,
) -> Finished:
    """Run one of Slurm's commands. ``access``: where they are; ``without``: variables that it must not have.

    SilentError where it cannot be run, or takes longer than ``patience`` seconds.
    """
    known = access or Launching("slurm", "", "")
    route = ["-M", known.route] if known.route else []
    program = os.path.join(known.programs, argv[0])
    words = [program if os.path.exists(program) else argv[0], *route, *argv[1:]]  # Slurm may have moved meanwhile
    try:
        return call(words, env=_environ(known, without), stdin=stdin, timeout=patience)
    except OSError as error:
        message = f"Slurm cannot be asked from here: {argv[0]}: {error.strerror}"
        raise SilentError(message, hint="its commands have to be on PATH: see `setup` of a host") from None
    except TimedOut:
        message = f"Slurm does not answer: {argv[0]} took more than {patience:.0f} s"
        raise SilentError(message, hint=_ASK) from None


def answer(*argv: str, access: Optional[Launching] = None, patience: float = PATIENCE) -> str:
    """Return what a command of Slurm answers; SilentError where it fails: it was asked nothing that can be wrong."""
    done = slurm(*argv, access=access, patience=patience)
    if done.code:
        message = f"Slurm does not answer: {complaint(done)}"
        raise SilentError(message, hint=_ASK)
    return done.text


def complaint(done: Finished) -> str:
    """Return what a command of Slurm complains of, in one line: its last word first, which is the verdict."""
    program = os.path.basename(done.argv[0])
    lines = [line.strip() for line in done.complaint.splitlines() if line.strip()]
    texts = [_without_name(line, program) for line in lines]
    return "; ".join(dict.fromkeys(reversed(texts))) or f"{program} ended with code {done.code}"


def _without_name(line: str, program: str) -> str:
    for prefix in (f"{program}: ", "error: ", "fatal: ", "Batch job submission failed: "):
        line = line.removeprefix(prefix)
    return line


def _environ(access: Launching, without: Collection[str]) -> Mapping[str, str]:
    environ = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or not (name.startswith(_FOREIGN) or name in _UNWANTED or name in without)
    }
    known = access.configuration and os.path.exists(access.configuration)
    return {**environ, "SLURM_CONF": access.configuration} if known else environ
