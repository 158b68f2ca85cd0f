"""Puts the hook that notes opened files into an environment; it sleeps until a variable names a file to write to."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Optional

VARIABLE = "MLRUN_OPENED"
_MODULE, _LOADER = "_mlrun_opened.py", "mlrun_opened.pth"


def plant(prefix: Path) -> None:
    """Add the hook to every site-packages of an environment, before it is looked at for the first time."""
    source = pkgutil.get_data("runner.worker.environment", "hook.py")
    assert source is not None
    for directory in prefix.glob("lib/python3*/site-packages"):
        (directory / _MODULE).write_bytes(source)
        (directory / _LOADER).write_text("import _mlrun_opened\n", encoding="ascii")


def is_planted(prefix: Optional[str]) -> bool:
    """Whether an environment has the hook: one that an older mlrun built has none."""
    return bool(prefix) and any(Path(str(prefix)).glob(f"lib/python3*/site-packages/{_LOADER}"))
