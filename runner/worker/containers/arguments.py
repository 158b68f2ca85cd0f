"""Arguments for the engine, as `-A` gives them: `tty` is a flag, `name=x` an option; they stand over mlrun's own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from runner.errors import EnvironmentBuildError
from runner.worker.containers.volumes import target

_SHORT = {"u": "user", "w": "workdir", "i": "interactive", "t": "tty", "d": "detach", "h": "hostname", "v": "volume"}
_TARGETS = ("target", "dst", "destination")  # a mount's words for one thing
_ALIASES = {"net": "network"}
_NOT_OURS = {
    "detach": "mlrun follows the container; `mlrun run --detach` returns at once",
    "restart": "mlrun sees the command end once",
    "rm": "mlrun removes the container itself",
}


def names(arguments: Iterable[str]) -> frozenset[str]:
    """Return the long names of the options that are given."""
    return frozenset(_long(argument.partition("=")[0]) for argument in arguments)


def value(arguments: Iterable[str], name: str) -> str:
    """Return the last value given for an option, "" where there is none."""
    found = ""
    for argument in arguments:
        key, _, text = argument.partition("=")
        found = text if _long(key) == name else found
    return found


def targets(arguments: Iterable[str]) -> Iterator[str]:
    """Yield the places in the container at which the user's own volumes and mounts lie."""
    for argument in arguments:
        name, _, text = argument.partition("=")
        if _long(name) == "volume":
            yield target(text)
        elif _long(name) == "mount":
            fields = dict(field.partition("=")[::2] for field in text.split(","))
            yield from (os.path.normpath(fields[key]) for key in _TARGETS if key in fields)


def words(arguments: Iterable[str]) -> Iterator[str]:
    """Yield the words of a command line: `--name=x`, `-v x`, `--tty`."""
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if len(name) == 1:
            yield f"-{name}"
            if equals:
                yield text
        else:
            yield f"--{argument}"


def refuse(arguments: Sequence[str]) -> None:
    """Raise EnvironmentBuildError for options that would take the container out of mlrun's hands, and for no names."""
    for argument in arguments:
        name = _long(argument.partition("=")[0])
        if not name or name.startswith("-") or any(letter.isspace() for letter in name):
            message = f"-A {argument}: an option's name is expected, without dashes"
            raise EnvironmentBuildError(message, hint="write -A tty, or -A name=VALUE")
        if name in _NOT_OURS:
            message = f"-A {argument} cannot be had"
            raise EnvironmentBuildError(message, hint=_NOT_OURS[name])


def _long(name: str) -> str:
    return _SHORT.get(name, _ALIASES.get(name, name))
