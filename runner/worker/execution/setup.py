"""The lines of bash that a host wants run before each run (`module load cuda`), for the variables that they leave."""

from __future__ import annotations

import os
import sys

from runner.errors import EnvironmentBuildError
from runner.worker.tools import call

_MARK = b"\0mlrun-setup\0"
_OWN = frozenset(("_", "SHLVL", "PWD", "OLDPWD"))  # bash's own business
_SCRIPT = 'eval "$2" >&2 </dev/null || exit; exec "$1" -S -E -c "$3"'
_DUMP = (
    "import os, sys; sys.stdout.buffer.write(b'\\0mlrun-setup\\0' + "
    "b'\\0'.join(k + b'=' + v for k, v in os.environb.items()))"
)


def apply(text: str) -> None:
    """Run the lines in a login shell, and take over its variables; EnvironmentBuildError where they fail."""
    if not text.strip():
        return
    try:
        done = call(["bash", "--login", "-c", _SCRIPT, "bash", sys.executable, text, _DUMP])
    except OSError as error:
        message = f"the host's setup needs bash: {error.strerror}"
        raise EnvironmentBuildError(message, hint="install bash there, or do without `setup`") from error
    head, found, variables = done.stdout.rpartition(_MARK)
    del head
    if done.code != 0 or not found:
        said = done.complaint.splitlines()
        message = f"the host's setup failed with code {done.code}: {said[-1] if said else 'it said nothing'}"
        raise EnvironmentBuildError(message, hint="correct `setup` of the host (`mlrun host list`, hosts.toml)")
    _take_over(dict(pair.partition(b"=")[::2] for pair in variables.split(b"\0") if pair))


def _take_over(variables: "dict[bytes, bytes]") -> None:
    own = {os.fsencode(name) for name in _OWN}
    for name in set(os.environb) - set(variables) - own:
        del os.environb[name]
    os.environb.update({name: value for name, value in variables.items() if name not in own})
