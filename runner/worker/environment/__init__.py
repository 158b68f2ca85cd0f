"""The environment a command runs in: finds the interpreter, takes the lock, finds or builds what it names."""

from __future__ import annotations

from runner.worker.environment.prepare import prepare, prepare_lock
from runner.worker.environment.shelf import hold, prune, remove, shelved, verify

__all__ = ["hold", "prepare", "prepare_lock", "prune", "remove", "shelved", "verify"]
