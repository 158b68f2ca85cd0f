"""What a command finds inside its container: places, variables, and the shell that runs it as it would outside."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Optional

from runner.worker.spec import Input
from runner.worker.values import dataclass

PROJECT = "/mlflow/projects/code/"  # where MLflow puts a project
_MAGIC = re.compile(r"[*?\[]")
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh"})
_INTERPRETER = re.compile(r"(python|pypy|Rscript|julia|node|perl|ruby|java)[\d.]*")
_NAME = re.compile(rb"[A-Za-z_]\w*\Z")

# It waits for the command instead of becoming it: the first process of a container is deaf to signals that it has no
# handler for, and takes all others with it when it goes. What outlives the command gets a moment, as it does outside.
_SCRIPT = """\
trap : HUP INT QUIT TERM
. "$1" && : > "$1" || exit 125
if command -v bash >/dev/null 2>&1; then
  if [ "$3" ]; then bash -e -o pipefail -c "$2"; else bash -c "$2"; fi
else
  sh ${3:+-e} -c "$2"
fi
code=$?
if [ "$4" ] && kill -s 0 -1 2>/dev/null; then sleep 0.3 2>/dev/null; fi
exit $code
"""

Environ = Mapping[bytes, bytes]


@dataclass(frozen=True)
class Mount:
    """A file or directory of the host, at a place of the container."""

    source: str
    target: str
    readonly: bool = False


def mounts(
    project: Path, run: Path, inputs: Sequence[Input], places: Mapping[str, str], taken: Collection[str]
) -> tuple[Mount, ...]:
    """Return what a container gets to see besides the volumes of the project and the user, which have ``taken`` places.

    The project at MLflow's place, the run's directory and what is read from outside at the paths they have here.
    """
    found = [Mount(str(project), PROJECT), Mount(str(run), str(run))]
    found += [Mount(place, place, readonly=True) for place in _outside(inputs, places, run)]
    return tuple(mount for mount in dict.fromkeys(found) if os.path.normpath(mount.target) not in taken)


def _outside(inputs: Sequence[Input], places: Mapping[str, str], run: Path) -> Iterator[str]:
    """Yield the absolute paths that a command is given."""
    for each in inputs:
        place = places.get(each.name, each.path)
        if each.parameter is None and not posixpath.isabs(each.path):
            continue  # a part of the project
        if _MAGIC.search(place) and not os.path.lexists(place):
            place = os.path.dirname(_MAGIC.split(place, maxsplit=1)[0])
        if not f"{place}/".startswith(f"{run}/"):
            yield place


def shell(command: str, variables: Path, *, strict: bool, alone: bool) -> tuple[str, ...]:
    """Return the argv, inside, that takes its variables from a file and empties it, then runs a rendered command.

    ``alone``: the container has processes of its own, and no others to see.
    """
    return ("sh", "-c", _SCRIPT, "mlrun", str(variables), command, "strict"[: strict * 6], "alone"[: alone * 5])


def replaced(entrypoint: Sequence[str]) -> Optional[str]:
    """Return what stands before the command instead of an image's ENTRYPOINT; None where that stays in place.

    One that ends in `exec "$@"` runs a shell's line. A shell would take our line for a script, and an interpreter for
    a file: of these, MLflow has the interpreter read what the command names.
    """
    program = os.path.basename(entrypoint[0]) if entrypoint else ""
    if program in _SHELLS and '"$@"' not in " ".join(entrypoint):
        return ""
    return shlex.join(entrypoint) + " " if _INTERPRETER.fullmatch(program) else None


def script(environ: Environ) -> bytes:
    """Return variables as a shell reads them. Those whose names no shell takes are left out."""
    lines = (b"export %b=%b\n" % (name, _quoted(value)) for name, value in environ.items() if _NAME.match(name))
    return b"".join(lines)


def odd(environ: Environ) -> tuple[str, ...]:
    """Return the names of the variables that no shell takes: the engine has to bring them in."""
    return tuple(os.fsdecode(name) for name in environ if not _NAME.match(name))


def _quoted(value: bytes) -> bytes:
    return shlex.quote(value.decode("latin-1")).encode("latin-1")
