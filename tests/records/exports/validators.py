"""The validators of others, in an environment of their own: made once, used by every session of this user."""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.needs import need

REQUIREMENTS = (
    "roc-validator==0.13.0",
    "prov==3.2.3",
    "in-toto-attestation==0.9.3",
    "openlineage-python==1.54.0",
)
CONTEXT = "rocrate==0.14.0"  # whose wheel carries the context that the crates name
ENVIRON = dict(os.environ)  # with the real home: uv's download cache is there
SCRIPT = Path(__file__).with_name("validate.py")


@functools.cache
def python() -> Path:
    """Return the interpreter that has the validators; the test is skipped where they cannot be had."""
    found, reason = install()
    need("validators", found, reason)
    assert found is not None
    return found


def install() -> tuple[Path | None, str]:
    import uv

    root = Path(os.environ.get("MLRUN_TEST_CACHE") or Path(tempfile.gettempdir()) / f"mlrun-tests-{os.getuid()}")
    target = root / f"validators-{sys.version_info.major}.{sys.version_info.minor}-1"
    if not (target / "complete").exists():
        root.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix="validators-", dir=root))
        for argv in (
            ["venv", "--relocatable", "--python", sys.executable, "--clear", aside],
            ["pip", "install", "--python", aside, *REQUIREMENTS],
            ["pip", "install", "--python", aside, "--no-deps", CONTEXT],
        ):
            done = subprocess.run([uv.find_uv_bin(), *argv], env=ENVIRON, capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(aside, ignore_errors=True)
                return None, f"the validators cannot be installed: {done.stderr.strip()[-300:]}"
        (aside / "complete").touch()
        try:
            aside.rename(target)
        except OSError:  # another session was first
            shutil.rmtree(aside, ignore_errors=True)
    return target / "bin" / "python", ""


def validate(kind: str, *paths: Path) -> Any:
    """Return what a validator says of files: JSON, as `validate.py` prints it."""
    done = subprocess.run(
        [python(), SCRIPT, kind, *paths], capture_output=True, text=True, timeout=240, check=False, env=ENVIRON
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
