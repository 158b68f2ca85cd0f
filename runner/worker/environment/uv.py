"""uv, called so that neither a password nor the caller's environment changes what it does unseen."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Callable, Optional
from urllib.parse import urlsplit

from runner.errors import EnvironmentBuildError
from runner.worker.environment.logins import apart, redacted
from runner.worker.files import replace as rewrite
from runner.worker.stat_cache import stat_key
from runner.worker.tools import Finished, TimedOut, call, stream
from runner.worker.values import dataclass

# What is the host's own business. All else that uv reads from its environment comes with the run, or not at all.
_HOSTS = frozenset(
    (
        "UV_CACHE_DIR",
        "UV_PYTHON_INSTALL_DIR",
        "UV_PYTHON_INSTALL_MIRROR",
        "UV_HTTP_TIMEOUT",
        "UV_HTTP_CONNECT_TIMEOUT",
        "UV_HTTP_RETRIES",
        "UV_SYSTEM_CERTS",
        "UV_NATIVE_TLS",
        "UV_OFFLINE",
        "UV_NO_CACHE",
        "UV_CONCURRENT_DOWNLOADS",
        "UV_CONCURRENT_BUILDS",
        "UV_CONCURRENT_INSTALLS",
        "UV_CONFIG_FILE",
        "UV_NO_CONFIG",
        "UV_CREDENTIALS_DIR",
        "UV_KEYRING_PROVIDER",
    )
)
_HIDDEN = frozenset(("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE"))
_FAILURES = ("error", "hint", "  \N{MULTIPLICATION SIGN}")
_NOISE = re.compile(r"^(  | [+~-] |Using Python |warning: The `--pylock`|$)")
INSTALL = "`python3 -m pip install --user uv`, or see uv's installation page"
OLDEST = (0, 8)  # of uv: the first whose `pylock.toml` is what is written and read here; pyproject.toml says the same
_PATIENCE = 60.0  # seconds a program may take to say its version: it may lie on a slow disk
_LONGEST = 700  # characters of a reason: a solver can go on for pages
_HEAD = 400  # of them from its beginning: the cause of all is said last
AS_OF = "MLRUN_AS_OF"  # of a run's variables: the day packages have to be older than, where the index tells their age
CLONES = "clone" if sys.platform == "darwin" else "copy"  # never hard links: an edit would reach uv's own cache


@dataclass(frozen=True)
class Uv:
    """The uv of this host with what one run gives it."""

    path: str
    installer: Mapping[str, str]  # indexes and options, with their credentials: by environment, never by argv
    say: Callable[[str], None]
    offline: bool = False
    cache: Optional[Path] = None  # where its own is, unless the host says so; None: where uv has it
    netrc: Optional[Path] = None  # where the run's own logins are written while uv runs

    def run(self, *words: str, cwd: Optional[Path] = None, downloads: bool = False) -> Finished:
        """Run uv and hand on what it says as it says it."""
        failed = False

        def listen(line: str) -> None:
            nonlocal failed
            failed = failed or line.startswith(_FAILURES)  # its reason follows, and is told as the error's
            if not failed and not _NOISE.match(line):
                self.say(redacted(line.strip()))

        with self._logins():
            return stream([self.path, *words], listen, cwd=cwd, env=self._environ(downloads))

    def ask(self, *words: str, cwd: Optional[Path] = None, text: str = "") -> Finished:
        """Run uv for its answer; ``text`` is its standard input."""
        stdin = text.encode("utf-8", "surrogateescape")
        with self._logins():
            return call([self.path, *words], cwd=cwd, env=self._environ(downloads=False), stdin=stdin)

    @property
    def version(self) -> str:
        """As the record has it: "uv 0.13.9"."""
        return version_of(self.path)

    @property
    def options(self) -> tuple[str, ...]:
        """Options that have no variable."""
        return ("--no-index",) if self.installer.get("MLRUN_NO_INDEX") else ()

    def reason(self, done: Finished) -> str:
        """Return why uv failed, in one line, without credentials."""
        if done.code < 0:
            return f"uv was ended by signal {-done.code}"
        text = redacted(done.stderr.decode("utf-8", "replace")).split("\nhint:")[0]
        _, found, after = text.rpartition("error: ")
        if not found:
            _, found, after = text.partition("\N{MULTIPLICATION SIGN} ")
        words = (
            re.sub(r"[\s\N{MULTIPLICATION SIGN}\u2500-\u25ff]+", " ", after or text).replace(" cause: ", ": ").strip()
        )
        short = words if len(words) <= _LONGEST else f"{words[:_HEAD]} ... {words[_HEAD - _LONGEST :]}"
        return short.rstrip(".") or f"uv ended with code {done.code}"

    def _environ(self, downloads: bool) -> dict[str, str]:
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in _HIDDEN and (not name.startswith("UV_") or name in _HOSTS)
        }
        given = {name: self._here(name, value) for name, value in self.installer.items() if name[:6] != "MLRUN_"}
        environ.update(apart(given))
        if AS_OF in self.installer:
            environ["UV_EXCLUDE_NEWER"] = self.installer[AS_OF]
        if self.netrc is not None and "MLRUN_NETRC" in self.installer:
            environ["NETRC"] = str(self.netrc)
        environ.update(UV_NO_PROGRESS="1", NO_COLOR="1", UV_PREVIEW_FEATURES="pylock", UV_LINK_MODE=CLONES)
        if self.cache is not None:
            environ.setdefault("UV_CACHE_DIR", str(self.cache))
        environ["UV_PYTHON_DOWNLOADS"] = "manual" if downloads else "never"
        environ["GIT_TERMINAL_PROMPT"] = "0"
        if self.offline:
            environ["UV_OFFLINE"] = "1"
        return {name: value for name, value in environ.items() if value or name not in self.installer}

    def _here(self, name: str, value: str) -> str:
        """Leave out of a variable the directories and files that only the machine it is from has."""
        if name == "SSL_CERT_FILE":
            return value if os.path.exists(value) else ""
        separator = {"UV_FIND_LINKS": ",", "UV_INDEX": " "}.get(name)
        if separator is None:
            return value
        return separator.join(word for word in value.split(separator) if _is_here(word))

    @contextlib.contextmanager
    def _logins(self) -> Iterator[None]:
        """Keep the logins of a run in a file that only its user can read, while uv runs."""
        logins = self.installer.get("MLRUN_NETRC")
        if logins is None or self.netrc is None:
            yield
            return
        own = b""
        with contextlib.suppress(OSError):
            own = Path(os.environ.get("NETRC") or os.path.expanduser("~/.netrc")).read_bytes()
        self.netrc.parent.mkdir(parents=True, exist_ok=True)
        rewrite(self.netrc, logins.encode() + b"\n" + own)
        try:
            yield
        finally:
            self.netrc.unlink(missing_ok=True)


def find_uv(path: Optional[str]) -> str:
    """Return the path of a uv that does, the one named or the host's own; EnvironmentBuildError where there is none."""
    reasons = []
    for place in dict.fromkeys(filter(None, (path, on_path()))):
        reason = unfit(place)
        if not reason:
            return place
        reasons.append(f"{place} {reason}")
    if reasons:
        message = f"uv does not run on this host, and it is what resolves and installs packages: {'; '.join(reasons)}"
    else:
        message = "uv is not on this host, and it is what resolves and installs packages"
    raise EnvironmentBuildError(message, hint=INSTALL)


def on_path() -> Optional[str]:
    """Return the uv of this host's user, whether it runs or not; None where there is none."""
    homes = (os.path.expanduser("~/.local/bin"), os.path.expanduser("~/.cargo/bin"))
    return shutil.which("uv", path=os.pathsep.join((os.environ.get("PATH", ""), *homes)))


def unfit(path: str) -> str:
    """Return why a uv does not do on this host, "" where it does: it is started, and says its version."""
    try:
        said = version_of(path)
    except OSError as error:  # another processor's, or a loader or a C library that is not here
        return f"cannot be started: {error.strerror}"
    except TimedOut:
        return f"gives no answer in {_PATIENCE:.0f} s"
    except ValueError as error:
        return f"does not run: {error}"
    return f"is too old: {said}, and {'.'.join(map(str, OLDEST))} is needed" if _release(said) < OLDEST else ""


def _is_here(word: str) -> bool:
    place = word.split("=", maxsplit=1)[-1] if "://" in word else word
    path = urlsplit(place).path if place.startswith("file:") else place
    return not os.path.isabs(path) or os.path.exists(path)


def wants_login(text: str) -> str:
    """Return what to do where uv says that an index lets nobody in without a login, "" where it says no such thing."""
    if "401 unauthorized" not in text.lower() and "403 forbidden" not in text.lower():
        return ""
    return "the index wants a login: in pip.conf or uv.toml, in a UV_INDEX_..._PASSWORD variable, or in ~/.netrc"


def _release(said: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", said)[:2])


def version_of(path: str) -> str:
    """Return what a uv says it is, "uv 0.13.9"; OSError, TimedOut, or ValueError where it does not run, or is no uv."""
    return _said(path, stat_key(os.stat(path)))


@lru_cache(maxsize=4)
def _said(path: str, state: tuple[int, ...]) -> str:
    del state  # asked again where the file is another
    done = call([path, "--version"], timeout=_PATIENCE)
    if done.code != 0 or re.match(r"uv \d+\.\d+", done.text) is None:
        lines = (done.complaint or done.text).splitlines()
        raise ValueError(lines[-1].strip() if lines else f"it ended with code {done.code}")
    return " ".join(done.text.split()[:2])
