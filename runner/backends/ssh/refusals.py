"""What ssh says when it cannot connect, in one line and with what to do; and whether trying again may help."""

from __future__ import annotations

import re

from runner.backends.host import Host
from runner.backends.ssh.bootstrap import NO_PYTHON
from runner.errors import BackendError

_SSH_FAILED = 255
_NOISE = re.compile(
    r"^(\*\* |debug\d: |Warning: Permanently added|Connection to .* closed|Killed by signal|mux_client|ControlSocket )"
)
_KEY_CHANGED = ("REMOTE HOST IDENTIFICATION HAS CHANGED", "differs from the key for the IP address")


class Unreachable(BackendError):  # noqa: N818 - a state of the world, not a mistake
    """A machine that cannot be reached now; later it may."""

    def __init__(self, host: Host, reason: str) -> None:
        """Say which machine, and why."""
        super().__init__(f"{host.name} cannot be reached: {reason}", hint=f"see whether `ssh {host.address}` works")


def refusal(host: Host, code: int, said: str, *, was_up: bool) -> BackendError:
    """Return the error for a connection that ended by itself."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _NOISE.match(line)]
    last = lines[-1] if lines else ""
    if any(words in said for words in _KEY_CHANGED):
        message = f"{host.name} has another host key than the one known: it is refused"
        machine = host.address.rpartition("@")[2]
        hint = f"ask who runs it; if it was set up anew: `ssh-keygen -R {machine}`, then connect once by hand"
        return BackendError(message, hint=hint)
    if "Host key verification failed" in said:
        message = f"the host key of {host.name} is not known, and nobody is here to confirm it"
        return BackendError(message, hint=f"connect once by hand: `ssh {host.address}`")
    if "Permission denied" in said or "Too many authentication failures" in said:
        return BackendError(
            f"{host.name} lets nobody in: {last}", hint=f"see that `ssh {host.address}` works without mlrun"
        )
    if code == NO_PYTHON and not was_up:
        message = f"{host.name} has no Python 3.9 or newer on its PATH"
        return BackendError(
            message, hint="install one there, or name it: `mlrun host add ... --python /path/to/python3`"
        )
    if code == _SSH_FAILED or code < 0 or was_up:
        return Unreachable(
            host, _reason(last) or ("the connection was cut" if was_up else f"ssh ended with code {code}")
        )
    message = f"{host.name} could not begin: {last or f'exit code {code}'}"
    return BackendError(message, hint=f"see what `ssh {host.address} sh -c true` says")


def _reason(line: str) -> str:
    return re.sub(r"^ssh: ", "", line).rstrip(".\r")
