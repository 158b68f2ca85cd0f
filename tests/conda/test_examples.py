"""Projects written as MLflow's examples are, with PyPI's packages where those have conda's; a whole Python."""

import fcntl
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.conda.channel import Channel, real_python
from tests.end_to_end.conftest import Mlrun
from tests.needs import need

SERIES = ".".join(map(str, sys.version_info[:2]))


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    """A conda-forge with a whole python and pip, made once for all workers."""
    place = tmp_path_factory.getbasetemp().parent / "conda-forge-of-tests"
    place.mkdir(exist_ok=True)
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "made").exists():
            shutil.rmtree(place / "conda-forge", ignore_errors=True)
            channel = Channel(place / "conda-forge")
            version = real_python(channel, str(Path(sys.base_prefix, "bin", f"python{SERIES}")))
            channel.module("pip", "24.0")
            (place / "made").write_text(version or "")
    need("whole-python", (place / "made").read_text(), "this Python keeps its packages where conda's does not")
    return Channel(place / "conda-forge")


@pytest.fixture
def mlrun(tmp_path: Path, shared_tools: None, forge: Channel, monkeypatch: pytest.MonkeyPatch) -> Mlrun:
    need("index", not os.environ.get("UV_OFFLINE"), "the package index is out of reach")
    monkeypatch.setenv("CONDA_CHANNEL_ALIAS", forge.path.parent.as_uri())
    return Mlrun(tmp_path)


TRAIN = """
import json, os, sys
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet
data = load_diabetes()
model = ElasticNet(alpha=float(sys.argv[1]), l1_ratio=float(sys.argv[2]), random_state=42).fit(data.data, data.target)
with open(os.environ["MLRUN_METRICS"], "a") as metrics:
    metrics.write(json.dumps({"name": "r2", "value": model.score(data.data, data.target)}) + "\\n")
np.savetxt("coefficients.csv", model.coef_)
print("trained")
"""


def test_a_model_is_trained_as_in_the_first_tutorial(mlrun: Mlrun, tmp_path: Path):
    project = tmp_path / "diabetes"
    project.mkdir()
    (project / "MLproject").write_text(
        "name: tutorial\nconda_env: conda.yaml\nentry_points:\n  main:\n    parameters:\n      alpha: float\n"
        "      l1_ratio: {type: float, default: 0.1}\n    command: 'python train.py {alpha} {l1_ratio}'\n"
    )
    (project / "train.py").write_text(TRAIN)
    (project / "conda.yaml").write_text(
        "name: tutorial\n"
        "channels:\n  - conda-forge\n  - nodefaults\n"
        f"dependencies:\n  - python={SERIES}\n  - pip\n  - pip:\n      - scikit-learn>=1.4\n"
    )
    assert mlrun("run", project, "-P", "alpha=0.5").ok().out == "trained\n"
    assert [one["name"] for one in mlrun.show()["metrics"]["series"]] == ["r2"]
    environment = mlrun.show()["environment"]
    packages = {one["name"]: one for one in environment["packages"]}
    assert {"python", "pip", "scikit-learn", "numpy", "scipy"} <= set(packages)
    assert packages["python"]["url"].endswith(".tar.bz2")
    assert all(one["digests"] for one in packages.values())
    assert environment["interpreter"]["path"].startswith(Path(os.environ["MLRUN_CACHE"]).as_uri())
    assert mlrun("rerun", "latest", "--check", "--json").ok().json["verdict"]["kind"] == "identical"
    assert mlrun.show()["environment"]["reused"]
    assert mlrun.show()["environment"]["installed"] == environment["installed"]


def test_steps_that_share_an_environment(mlrun: Mlrun, tmp_path: Path):
    project = tmp_path / "steps"
    project.mkdir()
    (project / "MLproject").write_text(
        "name: multistep\nconda_env: conda.yaml\nentry_points:\n"
        "  load:\n    command: 'python load.py'\n"
        "  train:\n    parameters: {data: path, max_iter: {type: int, default: 10}}\n"
        "    command: 'python train.py {data} --max-iter {max_iter}'\n"
    )
    (project / "conda.yaml").write_text(
        f"name: multistep\nchannels: [conda-forge]\ndependencies: ['python>={SERIES},<4', pip, pip: [six]]\n"
    )
    (project / "load.py").write_text("import six, sys\nopen('data.csv', 'w').write('1,2\\n')\nprint(sys.prefix)\n")
    (project / "train.py").write_text("import sys\nprint(open(sys.argv[1]).read().strip(), sys.argv[3], sys.prefix)\n")
    prefix = mlrun("run", project, "-e", "load").ok().out.strip()
    said = mlrun("run", project, "-e", "train", "-P", f"data={project / 'data.csv'}").ok()
    assert said.out == f"1,2 10 {prefix}\n"
    assert prefix.startswith(os.environ["MLRUN_CACHE"])


def test_what_the_user_has_installed_at_home_is_not_seen(mlrun: Mlrun, home: Path, tmp_path: Path):
    project, mine = tmp_path / "own", home / ".local" / "lib" / f"python{SERIES}" / "site-packages"
    mine.mkdir(parents=True)
    (mine / "six.py").write_text("__version__ = 'mine'\n")
    project.mkdir()
    (project / "MLproject").write_text(
        "conda_env: conda.yaml\nentry_points: {main: {command: 'python -c \"import six; print(six.__version__)\"'}}\n"
    )
    text = f"channels: [conda-forge]\ndependencies: [python={SERIES}, pip, pip: [six==1.16.0]]\n"
    (project / "conda.yaml").write_text(text)
    assert mlrun("run", project).ok().out == "1.16.0\n"
    (project / "conda.yaml").write_text(f"{text}variables: {{PYTHONNOUSERSITE: ''}}\n")
    assert mlrun("run", project).ok().out == "mine\n"
