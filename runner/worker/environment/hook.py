"""Notes which of a run's files a Python program opens to read. It stands in an environment as `_mlrun_opened`.

`mlrun_opened.pth` loads it in every Python of the environment; without MLRUN_OPENED it does nothing. That variable
names a file that begins with the directories to watch, NUL after each and after the last; what is opened is appended
likewise. Python 3.8 or newer; never an exception into the program, and no descriptor is kept that it might close and
use again.
"""

import os
import sys

_MOST = 20000  # files that one process names


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
        try:
            name = os.fsencode(path)  # type: ignore[arg-type]
        except TypeError:  # a descriptor
            return
        if not name.startswith(b"/"):
            name = os.path.join(os.getcwdb(), name)
        name = os.path.normpath(name)
        if name in seen or not name.startswith(roots) or len(seen) > _MOST:
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


if os.environ.get("MLRUN_OPENED") and hasattr(sys, "addaudithook"):
    watch(os.environ["MLRUN_OPENED"])
