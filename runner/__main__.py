"""`python -m runner`, and the `mlrun` command."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line and exit with its code; Ctrl-C before and after it is a plain end, without a traceback."""
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from runner.cli.main import run

    signal.signal(signal.SIGINT, interrupted)
    code = run(sys.argv[1:])
    if interrupted is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


if __name__ == "__main__":
    main()
