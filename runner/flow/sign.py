"""Sign runs: when asked, or each as it ends where the user's settings say so."""

from __future__ import annotations

from pathlib import Path

from runner.errors import MlrunError
from runner.records.finish import finish
from runner.records.signing import Signature, find_key, sign
from runner.store import settings
from runner.store.store import Store
from runner.worker.look import look
from runner.worker.rundir import RunDirectory


def sign_run(run: RunDirectory, store: Store, key: str, directory: Path) -> Signature:
    """Sign an ended run; ``key`` is "" for the user's own. A passphrase may be asked for at the terminal."""
    if not look(run).ended:
        message = f"the run {run.id} has not ended"
        raise MlrunError(message, hint=f"`mlrun wait {run.id}` waits until it has")
    finish(run, store)
    return sign(run, find_key(key, directory), ask=True)


def sign_if_configured(run: RunDirectory) -> str:
    """Sign a sealed run where the settings ask for that, without asking anybody; return why it cannot be."""
    try:
        configured = settings.read().sign
        if configured.always and not any(run.signatures.glob("*.sig")):
            sign(run, find_key(configured.key, run.path), ask=False)
    except MlrunError as error:
        return f"the record is not signed: {error.message}"
    return ""
