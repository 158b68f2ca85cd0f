"""mlrun: runs an MLproject, keeps a record of it, and runs it again, exactly."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes longer to load than all that a process that only hashes needs
if TYPE_CHECKING:
    from typing import Any

    from runner.api import SubmittedRun, rerun, run, runs
    from runner.errors import MlrunError, RunFailedError
    from runner.logging import log_metric

__version__ = "0.1.0"
__all__ = ["MlrunError", "RunFailedError", "SubmittedRun", "__version__", "log_metric", "rerun", "run", "runs"]


def __getattr__(name: str) -> Any:
    """Import the API when it is asked for: the worker imports this package, and brings nothing of it."""
    if name == "log_metric":
        from runner.logging import log_metric

        return log_metric
    if name in __all__:
        from runner import api, errors

        return getattr(errors if name.endswith("Error") else api, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """Return the names of the API, imported yet or not, with all else that is here."""
    return sorted({*globals(), *__all__})
