"""git, asked by argv: it writes nothing, runs nothing a repository names, and never waits at a prompt."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runner.errors import SourceError
from runner.worker.tools import Finished, call, stream

# A repository's own configuration may name programs; these two run on nearly every command.
_QUIET = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_PATIENCE = ("-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=120", "-c", "gc.auto=0", "-c", "maintenance.auto=0")
# They would lead git to another repository than the one it is asked about, or change what its options mean.
_MISLEADING = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|INDEX_VERSION|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|NAMESPACE|PREFIX"
    r"|GRAFT_FILE|SHALLOW_FILE|REPLACE_REF_BASE|INTERNAL_\w+|IMPLICIT_WORK_TREE|EXTERNAL_DIFF|DIFF_OPTS|TRACE\w*"
    r"|\w+_PATHSPECS|QUARANTINE_PATH|ATTR_SOURCE|CONFIG_PARAMETERS|PAGER\w*)"
)
_PROTOCOLS = "file:git:http:https:ssh"
_DRIVER = re.compile(r"(filter\..*)\.(?:clean|smudge|process|required)", re.DOTALL)


def environment(settings: Mapping[str, str] | None = None, **variables: str) -> dict[str, str]:
    """Return the environment git is called with; ``settings`` are configuration that never shows in an argv."""
    env = {name: value for name, value in os.environ.items() if not _MISLEADING.fullmatch(name)}
    env |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C", **variables}
    given = env.get("GIT_CONFIG_COUNT", "0")
    count = int(given) if given.isdigit() else 0
    for index, (key, value) in enumerate((settings or {}).items(), start=count):
        env |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return env | ({"GIT_CONFIG_COUNT": str(count + len(settings))} if settings else {})


def ask(where: Path, *words: str | bytes, settings: Mapping[str, str] | None = None, **variables: str) -> Finished:
    """Run a git command that only reads, in a directory. SourceError where there is no git."""
    env = environment(settings, **variables)
    try:
        return call(("git", *_QUIET, *words), cwd=where, env=env)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        if shutil.which("git") is None:
            raise _missing() from None
        message = f"cannot enter {str(where)!r}: {error.strerror}"
        raise SourceError(message, hint="check that the directory is there and that you may read it") from None


def inside(git_dir: Path, *words: str, settings: Mapping[str, str] | None = None, **variables: str) -> Finished:
    """Run a git command that only reads in this repository: where it is damaged, git must not look for one above it."""
    return ask(git_dir, *words, settings=settings, GIT_DIR=str(git_dir), **variables)


def ask_all(where: Path, *requests: Sequence[str]) -> list[Finished]:
    """Run several independent git commands that only read, at the same time."""
    answers: list[Finished | BaseException | None] = [None] * len(requests)

    def answer(index: int) -> None:
        try:
            answers[index] = ask(where, *requests[index])
        except BaseException as error:  # noqa: BLE001  (raised again where it is waited for)
            answers[index] = error

    threads = [threading.Thread(target=answer, args=(index,)) for index in range(1, len(requests))]
    for thread in threads:
        thread.start()
    answer(0)
    for thread in threads:
        thread.join()
    return [_raised(value) for value in answers]


def succeed(done: Finished) -> Finished:
    """Return what a command answered; SourceError with git's own words where it failed."""
    if done.code:
        message = f"git {_verb(done)} failed: {last_words(done)}"
        raise SourceError(message, hint="run the same command by hand to see more: " + " ".join(done.argv))
    return done


def last_words(done: Finished) -> str:
    """Return the line of git's complaint that says most: what ssh said, else the first fatal one, else the last."""
    text = done.complaint or done.stdout.decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:"))]
    line = (fatal or lines[-1:] or [f"exit code {done.code}"])[0]
    if line in lines[1:] and "Could not read from remote repository" in line:
        line = lines[lines.index(line) - 1]
    return re.sub(r"^(fatal|error): ", "", line).rstrip(".")


def configuration(listing: bytes) -> dict[str, str]:
    """Return the answer to `config --list -z`; the last value of a key counts."""
    items = (item.partition(b"\n") for item in listing.split(b"\0") if item)
    return {os.fsdecode(key): os.fsdecode(value) for key, _, value in items}


def without_filters(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that switch off every content filter a configuration names: they are programs."""
    drivers = sorted({match[1] for key in settings if (match := _DRIVER.fullmatch(key))})
    off = {"clean": "", "smudge": "", "process": "", "required": "false"}
    return {f"{driver}.{key}": value for driver in drivers for key, value in off.items()}


def talk(
    where: Path, *words: str, say: Callable[[str], None], settings: Mapping[str, str] | None = None, **variables: str
) -> Finished:
    """Run a git command that speaks to a server; its prompts reach a terminal, and without one it fails at once."""
    allowed = os.environ.get("GIT_ALLOW_PROTOCOL", _PROTOCOLS).split(":")
    protocols = ":".join(name for name in allowed if name in _PROTOCOLS.split(":"))
    attended = sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()
    quiet = {} if attended else {"GIT_TERMINAL_PROMPT": os.environ.get("GIT_TERMINAL_PROMPT", "0")}
    env = environment(settings, GIT_ALLOW_PROTOCOL=protocols, **quiet, **variables)
    try:
        # A session of its own has no terminal: git and ssh can ask nobody, and say so instead of waiting.
        return stream(("git", *_QUIET, *_PATIENCE, *words), say, cwd=where, env=env, new_session=not attended)
    except FileNotFoundError:
        raise _missing() from None


def _verb(done: Finished) -> str:
    words = iter(done.argv[1:])
    for word in words:
        if word == "-c":
            next(words)
        elif not word.startswith("-"):
            return word
    return ""


def _raised(value: Finished | BaseException | None) -> Finished:
    if isinstance(value, BaseException):
        raise value
    assert value is not None
    return value


def _missing() -> SourceError:
    return SourceError("git is not installed", hint="install git (2.31 or later), or give a directory or a .zip")
