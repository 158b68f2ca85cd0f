"""The worker's command line: VERB RUN_DIR..., the same on every host; answers are JSON lines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runner.errors import MlrunError

Verb = Callable[[Sequence[str]], int]


def main(argv: Sequence[str]) -> int:
    """Do one verb and return its exit code: 2 for wrong usage, 125 for a failure, said in one line."""
    if len(argv) < 2 or argv[0] not in VERBS:  # noqa: PLR2004
        sys.stderr.write(f"usage: worker {'|'.join(VERBS)} RUN_DIR...\n")
        return 2
    try:
        return VERBS[argv[0]](argv[1:])
    except MlrunError as error:
        sys.stderr.write(f"{error.message}\n\nhint: {error.hint}\n" if error.hint else f"{error.message}\n")
        return error.exit_code


def _start(words: Sequence[str]) -> int:
    from runner.worker.execution.start import start

    return start(Path(words[0]))


def _execute(words: Sequence[str]) -> int:
    """Carry out a run that was prepared on another machine and handed to a launcher: what a job's script calls."""
    from runner.worker.execution.start import execute_here

    directory = Path(words[0])
    _speak_into(directory / "worker.log")  # the job's own output is for what Slurm has to say
    return execute_here(directory)


def _wait(words: Sequence[str]) -> int:
    """Be ready, and start the run whose directory comes on a descriptor; if none comes, nothing has happened."""
    from runner.worker.environment import prepare as environment
    from runner.worker.execution import execute, prepare, start

    del environment, execute, prepare  # imported while the near side still plans
    with os.fdopen(int(words[0]), "rb") as stream:
        line = stream.readline()
    if not line.endswith(b"\n"):
        return 0
    directory = Path(os.fsdecode(line[:-1]))
    _speak_into(directory / "worker.log")
    return start.start(directory)


def _speak_into(path: Path) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)


def _look(words: Sequence[str]) -> int:
    """Print one state a line, in the order asked: {"run", "state", "outcome", "remark"}."""
    from runner.worker.codec import encode
    from runner.worker.look import look
    from runner.worker.rundir import RunDirectory

    for word in words:
        state = look(RunDirectory(Path(word)))
        line = {"run": Path(word).name, "state": state.name, "outcome": encode(state.outcome), "remark": state.remark}
        sys.stdout.write(json.dumps(line) + "\n")
    return 0


def _cancel(words: Sequence[str]) -> int:
    """Cancel a run; a second word names the signal, INT or TERM."""
    from runner.worker.execution.cancel import cancel
    from runner.worker.rundir import RunDirectory

    state = cancel(RunDirectory(Path(words[0])), words[1] if len(words) > 1 else "TERM")
    sys.stdout.write(json.dumps({"run": Path(words[0]).name, "state": state.name}) + "\n")
    return 0


def _serve(words: Sequence[str]) -> int:
    """Serve MLflow's tracking API on an inherited socket; the token and the word to end come on a descriptor."""
    from runner.worker.tracking.serve import serve

    return serve(Path(words[0]), int(words[1]), int(words[2]))


VERBS: Mapping[str, Verb] = {
    "start": _start,
    "execute": _execute,
    "wait": _wait,
    "look": _look,
    "cancel": _cancel,
    "serve": _serve,
}


def leave(code: int) -> None:
    """End this process at once: there is nothing that an interpreter's orderly end would add."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
