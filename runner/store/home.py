"""Where a user's runs, caches and configuration lie."""

from __future__ import annotations

import os
from pathlib import Path

from runner.errors import StoreError


def home() -> Path:
    """Return the store's directory: $MLRUN_HOME, else ~/.local/share/mlrun; absolute, made or not."""
    return _place("MLRUN_HOME", ".local/share/mlrun")


def cache() -> Path:
    """Return the cache's directory: $MLRUN_CACHE, else ~/.cache/mlrun; absolute, made or not."""
    return _place("MLRUN_CACHE", ".cache/mlrun")


def config() -> Path:
    """Return where the user's configuration lies: $MLRUN_CONFIG, else $XDG_CONFIG_HOME/mlrun, else ~/.config/mlrun."""
    base = os.environ.get("XDG_CONFIG_HOME") or ""
    if not os.environ.get("MLRUN_CONFIG") and Path(base).is_absolute():
        return Path(base) / "mlrun"
    return _place("MLRUN_CONFIG", ".config/mlrun")


def _place(variable: str, default: str) -> Path:
    named = os.environ.get(variable)
    try:
        return Path(named).expanduser().absolute() if named else Path.home() / default
    except RuntimeError:
        message = "this user has no home directory"
        raise StoreError(message, hint=f"set {variable} to a directory you can write to") from None
