"""Real clients of MLflow, each in a virtual environment that is made once per machine and shared by all tests."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.needs import find_python

ENVIRON = dict(os.environ)  # with the real home: uv's download cache is there
_HERE = f"{sys.version_info.major}.{sys.version_info.minor}"

# The Python that a client needs, and what is installed. 1.30 knows neither numpy 1.24 nor scikit-learn 1.2, and
# 2.22 no SQLAlchemy 2.1.
CLIENTS = {
    "mlflow-1.30": (
        "3.9",
        *("mlflow==1.30.1", "numpy<1.24", "pandas<1.6", "scipy<1.10", "scikit-learn==1.1.3"),
        *("matplotlib<3.7", "pillow<10", "setuptools<60", "pip"),
    ),
    "mlflow-2.22": (_HERE, "mlflow>=2.22,<3", "scikit-learn<1.7", "psutil", "sqlalchemy<2.1"),
    "mlflow": (_HERE, "mlflow>=3.17,<4"),
    "mlflow-skinny": (_HERE, "mlflow-skinny>=3.1,<4"),
}


def install(name: str = "mlflow") -> tuple[Path | None, str]:
    """Return an interpreter with a client, and why there is none."""
    version, *requirements = CLIENTS[name]
    python = sys.executable if version == _HERE else find_python(version)
    if python is None:
        return None, f"there is no Python {version} here, which {name} needs"
    root = Path(os.environ.get("MLRUN_TEST_CACHE") or Path(tempfile.gettempdir()) / f"mlrun-tests-{os.getuid()}")
    root.mkdir(parents=True, exist_ok=True)
    target = root / f"{name}-{version}"
    with (root / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers of this session, and other sessions
        failure = "" if (target / "complete").exists() else _make(root, target, python, requirements)
    return (None, failure) if failure else (target / "bin" / "python", "")


def _make(root: Path, target: Path, python: str, requirements: list[str]) -> str:
    import uv

    aside = Path(tempfile.mkdtemp(prefix="client-", dir=root))
    for argv in (
        ["venv", "--relocatable", "--python", python, "--clear", aside],
        ["pip", "install", "--python", aside, *requirements],
    ):
        done = subprocess.run([uv.find_uv_bin(), *argv], env=ENVIRON, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(aside, ignore_errors=True)
            return f"{target.name} cannot be installed: {done.stderr.strip()[-300:]}"
    (aside / "complete").touch()
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    return ""
