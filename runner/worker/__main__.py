"""Where a worker begins: `python3 -X utf8 -S -E .../runner/worker VERB RUN_DIR`."""

# No __future__ import here, and nothing newer than Python 3.6: an old interpreter is to say that it is old.
import os
import sys

if sys.version_info < (3, 9):
    sys.stderr.write("mlrun needs Python 3.9 or newer here; %s is %s\n" % (sys.executable, sys.version.split()[0]))
    sys.exit(125)

if sys.getfilesystemencoding().lower() not in ("utf-8", "utf8"):  # file names and JSON are UTF-8 in any locale
    os.execv(sys.executable, [sys.executable, "-X", "utf8", "-S", "-E", *sys.argv])  # noqa: S606

_here = os.path.dirname(os.path.abspath(__file__))
if os.path.basename(_here) == "worker":  # run as a directory: its modules are no top-level modules
    sys.path[0:1] = []
    sys.path.append(os.path.dirname(os.path.dirname(_here)))  # last: beside the package may lie backports of the stdlib

from runner.worker.verbs import leave, main  # noqa: E402

if __name__ == "__main__":
    leave(main(sys.argv[1:]))
