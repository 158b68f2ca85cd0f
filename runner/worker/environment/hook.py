"""Notes which of a run's files a Python program opens to read. It stands in an environment as `_mlrun_opened`.

`mlrun_opened.pth` loads it in every Python of the environment; without MLRUN_OPENED it does nothing. That variable
names a file that begins with the directories to watch, NUL after each and after the last; what is opened is appended
likewise. Python 3.8 or newer; never an exception into the program, and no descriptor is kept that it might close and
use again.
"""

import os
import sys

_MOST = 20000  # files that one process names
_OWN = tuple(os.fsencode(each).rstrip(b"/") + b"/" for each in (sys.prefix, sys.base_prefix, "/proc", "/dev"))


def watch(place: str) -> None:
    """Add the audit hook; nothing happens where the file cannot be read."""
    try:
        with open(place, "rb") as stream:
            head = stream.read(1 << 20)
    except OSError:
        return
    roots = tuple(root + b"/" for root in head.partition(b"\0\0")[0].split(b"\0") if root)
    access, append = os.O_ACCMODE, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    fresh = os.O_TRUNC | os.O_CREAT | os.O_APPEND  # with them what is opened to be written is not read first
    seen = {os.fsencode(place)}

    def note(path: "str | bytes | int") -> None:
        name = _inside(_absolute(path), roots)
        if not name or name in seen or len(seen) > _MOST:
            return
        seen.add(name)
        descriptor = os.open(place, append)
        try:
            os.write(descriptor, name + b"\0")
        finally:
            os.close(descriptor)

    def hook(event: str, args: "tuple") -> None:  # type: ignore[type-arg]
        if event == "open" and (args[2] & access == os.O_RDONLY or args[2] & (access | fresh) == os.O_RDWR):
            try:  # noqa: SIM105 - contextlib is an import that every Python here would pay
                note(args[0])
            except Exception:  # noqa: BLE001, S110 - no matter of the program's; contextlib costs
                pass

    if roots:
        sys.addaudithook(hook)


def _absolute(path: "str | bytes | int") -> bytes:
    if isinstance(path, int):  # a descriptor
        return b""
    name = os.fsencode(path)
    if name.startswith(b"/"):
        return os.path.normpath(name)
    here = os.path.join(os.getcwdb(), name)
    found = here if os.path.lexists(here) else _beside(name)
    return found and os.path.normpath(found)


def _beside(name: bytes) -> bytes:
    """Return the one file that a name, which is not in the working directory, can mean with `dir_fd`: b"" for none.

    What opens a file with it tells nobody which directory it means, and only those that are open can be meant.
    """
    opened = {os.path.realpath(b"/proc/self/fd/" + each) for each in os.listdir(b"/proc/self/fd")}
    found = [each for each in (os.path.join(directory, name) for directory in opened) if os.path.isfile(each)]
    return found[0] if len(found) == 1 else b""


def _inside(name: bytes, roots: "tuple[bytes, ...]") -> bytes:
    """Return a name below the directories that are watched, also where it leads there by a symlink; b"" for others."""
    if name and not name.startswith((*roots, *_OWN)):
        name = os.path.realpath(name)
    return name if name.startswith(roots) else b""


if os.environ.get("MLRUN_OPENED") and hasattr(sys, "addaudithook"):
    watch(os.environ["MLRUN_OPENED"])
