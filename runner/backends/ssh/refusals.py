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
_CURE = re.compile(r"ssh-keygen -f .*[^\s]")
# As ssh says it of the machine, and no shell there of a file of its own.
_DENIED = re.compile(r"^\S+: Permission denied \(.*|^.*Too many authentication failures.*", re.MULTILINE)
_UNKNOWN_KEY = "Host key verification failed"
_BETWEEN = "Connection closed by UNKNOWN port"  # by who is in between, of whose words ssh shows none
_KEY_CHANGED = ("REMOTE HOST IDENTIFICATION HAS CHANGED", "differs from the key for the IP address")


class Unreachable(BackendError):  # noqa: N818 - a state of the world, not a mistake
    """A machine that cannot be reached now; later it may."""

    def __init__(self, host: Host, reason: str) -> None:
        """Say which machine, and why."""
        super().__init__(f"{host.name} cannot be reached: {reason}", hint=f"see whether `{_ssh(host)}` works")


def cut(host: Host, said: str) -> Unreachable:
    """Return the error for a connection that stood, and ended by itself."""
    return Unreachable(host, _reason(_last(said)) or "the connection was cut")


def might_answer(said: str) -> bool:
    """Whether somebody at a terminal could let us in: by a password, a passphrase, a word to a host key."""
    if any(words in said for words in _KEY_CHANGED):
        return False
    return _DENIED.search(said) is not None or _UNKNOWN_KEY in said or _BETWEEN in said


def talkative(host: Host) -> BackendError:
    """Return the error for a login shell that prints more than anybody would read."""
    message = f"{host.name} prints more than 1 MB as one logs in, and mlrun is not heard"
    return BackendError(message, hint=f"see what `{_ssh(host)} true` prints: it should print nothing")


def refusal(host: Host, code: int, said: str, printed: str) -> BackendError:
    """Return the error for a connection that never stood: ssh has ``said`` why, or a login shell has ``printed`` it."""
    kept_out = _kept_out(host, said)
    if kept_out is not None:
        return kept_out
    if code == NO_PYTHON:
        message = f"{host.name} has no Python 3.9 or newer on its PATH"
        return BackendError(
            message, hint="install one there, or name it: `mlrun host add ... --python /path/to/python3`"
        )
    last = _last(said)
    if _BETWEEN in said:
        last = "what leads there (ProxyJump, ProxyCommand) has ended"
    if code == _SSH_FAILED or code < 0:
        return Unreachable(host, _reason(last) or f"ssh ended with code {code}")
    message = f"{host.name} could not begin: {last or printed or f'exit code {code}'}"
    return BackendError(message, hint=f"see what `{_ssh(host)} sh -c true` says")


def _kept_out(host: Host, said: str) -> BackendError | None:
    """Return the error for a machine that is not the one known, or lets nobody in; None where it is neither."""
    if any(words in said for words in _KEY_CHANGED):
        message = f"{host.name} has another host key than the one known: it is refused"
        cure = _CURE.search(said)
        command = cure.group() if cure else f"ssh-keygen -R {host.address.rpartition('@')[2]}"
        return BackendError(
            message, hint=f"ask who runs it; if it was set up anew: `{command}`, then connect once by hand"
        )
    if _UNKNOWN_KEY in said:
        message = f"the host key of {host.name} is not known, and nobody is here to confirm it"
        return BackendError(message, hint=f"connect once by hand: `{_ssh(host)}`")
    denied = _DENIED.search(said)
    if denied is None:
        return None
    message = f"{host.name} lets nobody in: {denied.group().strip()}"
    return BackendError(message, hint=f"see that `{_ssh(host)}` works without mlrun")


def _ssh(host: Host) -> str:
    return f"ssh -p {host.port} {host.destination}" if host.port else f"ssh {host.destination}"


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _NOISE.match(line)]
    return lines[-1] if lines else ""


def _reason(line: str) -> str:
    return re.sub(r"^ssh: ", "", line).rstrip(".\r")
