"""What is said to a machine first: a line that any login shell takes, a few lines of Python, and the worker itself."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from runner.backends.host import Host

NO_PYTHON = 94  # exit code: no Python that is new enough

# The same for every host, so that no word of the user's meets a shell there. sh, csh and fish read it alike: single
# quotes, and inside them neither a quote, a backslash, an exclamation mark nor the end of a line. The first line of
# standard input names a Python to be tried first; the second says how long the program is that follows. What is too
# old, or is a shim that leads to no Python, has read nothing of it: the next is tried.
COMMAND = (
    "exec sh -c 'IFS= read -r named; "
    'for python in "$named" python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python; do '
    'command -v "$python" >/dev/null 2>&1 || continue; '
    '"$python" -X utf8 -S -E -c "import sys; sys.version_info < (3, 9) and sys.exit(94); '
    'exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))"; '
    "code=$?; case $code in 2|94|126|127) ;; *) exit $code;; esac; done; exit 94'"
)

# Answers with a mark, because a login shell may have printed things before; then takes the worker in if it is new, or
# if who cleans a cache has taken some of its files: by their age, as clusters do on scratch disks.
PROGRAM = b"""\
import contextlib, hashlib, io, json, os, shutil, sys, zipfile, zlib
incoming, outgoing = sys.stdin.buffer, open(1, "wb", 0)
hello = json.loads(incoming.readline())
def say(**head):
    outgoing.write(json.dumps(dict(head, size=0)).encode() + b"\\n")
def place(text, default):
    return os.path.abspath(os.path.expanduser(text or default))
hello["umask"] = os.umask(0o077)
hello["home"] = place(hello["home"], "~/.local/share/mlrun")
hello["cache"] = place(hello["cache"], "~/.cache/mlrun")
hello["code"] = code = os.path.join(hello["cache"], "workers", hello["worker"])
outgoing.write(b"\\n" + hello["mark"].encode() + b"\\n")
def is_whole():
    return sum(name.endswith(".py") for _, _, names in os.walk(code) for name in names) == hello["files"]
waiting = []
try:
    if not is_whole():
        say(kind="lack-worker")
        while True:
            line = incoming.readline()
            if not line.endswith(b"\\n"):
                sys.exit(0)
            head = json.loads(line)
            body = incoming.read(head.pop("size"))
            body = zlib.decompress(body) if head.pop("packed") else body
            if head["kind"] == "worker":
                break
            waiting.append((head, body))
        if hashlib.sha256(body).hexdigest() != hello["worker"]:
            say(kind="refused", error="IntegrityError", message="the worker did not arrive whole", hint="try again")
            sys.exit(0)
        aside = "%s.%d" % (code, os.getpid())
        zipfile.ZipFile(io.BytesIO(body)).extractall(aside)
        for _ in range(9):
            try:
                os.rename(aside, code)
                break
            except OSError:
                if not os.path.isdir(code) or is_whole():
                    break
                with contextlib.suppress(OSError):
                    os.rename(code, aside + ".damaged")
        for left in (aside, aside + ".damaged"):
            shutil.rmtree(left, ignore_errors=True)
        os.stat(code)
except OSError as error:
    say(kind="refused", error="StoreError", message="cannot write to %s: %s" % (hello["cache"], error.strerror),
        hint="free some space there, or give the host another `cache`")
    sys.exit(0)
sys.path[:0] = [code]
from runner.worker.remote.attend import attend
attend(incoming, outgoing, hello, waiting)
sys.stdout.flush()
os._exit(0)
"""


def opening(host: Host, archive: Path, mark: str, *, warm: bool, beat: float) -> bytes:
    """Return what goes to a machine's standard input before any request."""
    hello: dict[str, object] = {"home": host.home, "cache": host.cache, "mark": mark, "warm": warm, "beat": beat}
    hello |= {"worker": archive.stem, "files": len(zipfile.ZipFile(archive).namelist())}
    if host.launcher != "direct":
        hello["setup"] = host.setup  # a launcher's commands may be on PATH only after it
    named = host.python if "\n" not in host.python else ""
    return b"%s\n%d\n%s%s\n" % (named.encode(), len(PROGRAM), PROGRAM, json.dumps(hello).encode("ascii"))
