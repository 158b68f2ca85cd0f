"""py-rattler on this host: in an environment of its own, made by uv once, and asked in JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.errors import EnvironmentBuildError
from runner.worker.environment.cache import installed, shelf
from runner.worker.environment.cache.look import noted
from runner.worker.environment.cache.shelf import Built
from runner.worker.environment.conda import tool
from runner.worker.environment.conda.lockfile import host_platform
from runner.worker.environment.conda.logins import kept
from runner.worker.environment.locks import pylock
from runner.worker.environment.logins import redacted
from runner.worker.environment.site import Site
from runner.worker.facts import InstalledEnvironment
from runner.worker.spec import EnvironmentSpec, Interpreter
from runner.worker.tools import Finished, stream

NAME = "py-rattler"
VERSION = "0.28.0"
_PYTHON = ">=3.10"  # what it needs
_WHEELS = (  # every wheel of this version, on whatever platform
    "1c566fb1b0fc3d0d892b7ba021d6863aaff1f476c245178a07f560729aa7ecdb",
    "31c6770fc2294855488532b015bc051ac3e785c30c46ddea29ea82f6b7b55876",
    "4f4ab1d34d5394e7ce130a86e59009c95ace4f5757d9c3af04de1351bcea47eb",
    "595e415bc27f01bd95cc3c03138c0dc4087d57d8db2e80c72ca0063ee66c01b8",
    "6108ea83ba3d2a2637afa45cf655d0b3ae0a4ab1106dde84de2da8c08b1e16df",
    "61b24202374188e72130f1b3dc63b455befaafc3e49e5481a38b6a6c8828c1e0",
    "6218478af88d45ac1e08e605ede4f67bbe4ffbbbb40b5e32622a4746f98fe331",
    "6a0312ba34d4e709fe5f20df6de617b9a4cd1e9293f2c8eaad2fb9c699a26746",
    "81cef9b72c334c54442135badfedaf2db18622c37fe18d0261a52ee4a54c0fd4",
    "84aef2aca9df0f8e0b0c635b2ff32c8568ac41e612f6f192fde12b99e48397cd",
    "acf5761d639b9a5b0cda990fdf131ae5e97d09f29fab4a144c32285c77275892",
    "bc18e46ed1b7bd72aa3ce48e0cc6582f48d540f956a96e4d6c63edd7373b746b",
    "be4b243c1ae8b8009b0d265de8432e59b057639dd48cce2d0f7a445e9f4d271d",
    "d25e3eb18127571757f5d9ad7ccd2c2c24aaac5575b28a9cab6463997357a4eb",
    "d26db63e41e6efaff75c3d89040b2c78b4887be8e782dff281fb426835308b2b",
    "d707bffcf2cf9a0593fb6fb753f3df0c4a9eb2990e61d1748016a32e54a7028d",
    "d990d0bd3d2259332d26b96848b522dfc67b0e308a3dce565d08de79b56e531b",
    "f08d164065b8b6b7053006b8459af5602f89494b57d4b7404e6281cef2cbb18a",
)
# What a project or a user says of packages is not said of the tool.
_NOT_OURS = ("UV_EXCLUDE_NEWER", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_PRERELEASE", "UV_RESOLUTION", "UV_NO_BINARY")
_START = "import sys; sys.path.append(sys.argv[1]); from runner.worker.environment.conda.tool import main; main()"
_HINTS = {
    "unsolvable": "change the versions that exclude each other in the conda file, or name the channel that has them",
    "later": "take a later --exclude-newer, or none: what was built after that day counts as not there",
    "spec": "write `name=version`, `name>=1.2,<2` or `channel::name`",
    "hash": "the archive was replaced: `--upgrade` (`mlrun run`, `mlrun lock`) if on purpose; else do not trust it",
    "space": "free some space (`mlrun env prune`), or point MLRUN_CACHE at a larger disk",
    "refused": "give the user and password in ~/.netrc, or log in with `rattler auth login` or `pixi auth login`",
    "gone": "check the channels' addresses; what a channel has dropped, `mlrun lock --upgrade` replaces",
    "network": "conda packages need the network once; what was fetched before is in the cache",
    "script": "see what the script needs of this host (often the network); `conda` itself ends there, too",
    "virtual": "use a host that has it, or `mlrun lock` on this one; CONDA_OVERRIDE_GLIBC and the like pretend",
}


def ask(site: Site, operation: str, **request: Any) -> Mapping[str, Any]:
    """Have py-rattler do something and return its answer; EnvironmentBuildError where it cannot."""
    tools = environment(site)
    request.update(operation=operation, cache=str(site.cache / "downloads" / "conda"), offline=site.placement.offline)
    site.scratch.mkdir(parents=True, exist_ok=True)
    answers: dict[str, Any] = {}

    def listen(line: str) -> None:
        if not line.startswith(tool.MARK):
            return
        said = json.loads(line[len(tool.MARK) :])
        if "say" in said:
            site.say(redacted(said["say"]))
        answers.update(said)

    with kept(site) as variables:
        done = stream(
            [f"{tools.bin}/python", "-X", "utf8", "-I", "-c", _START, _own_place()],
            listen,
            cwd=site.scratch,
            env={**_certificates(site), **os.environ, **variables},
            stdin=json.dumps(request).encode() + b"\n",
        )
    if "answer" not in answers:
        raise _failure(operation, answers.get("error"), done)
    answer: Mapping[str, Any] = answers["answer"]
    return answer


def environment(site: Site) -> InstalledEnvironment:
    """Return the environment that has py-rattler, made where there is none; EnvironmentBuildError where none can."""
    return shelf.take(_root(site), shelf.Order(lambda prefix: _make(site, prefix)), site.say)


def _failure(operation: str, error: "Mapping[str, str] | None", done: Finished) -> EnvironmentBuildError:
    doing = {"solve": "solved", "install": "installed"}.get(operation, "read")
    if error is None and done.code < 0:
        return EnvironmentBuildError(
            f"the conda packages cannot be {doing}: {NAME} was ended by signal {-done.code}",
            hint="run it again; where memory is short, the kernel ends what has most of it",
        )
    if error is None:
        last = (done.complaint.splitlines() or ["no word"])[-1]
        return EnvironmentBuildError(
            f"the conda packages cannot be {doing}: {NAME} ended with code {done.code}: {last}"
        )
    reason = " ".join(error["message"].split())
    hint = _HINTS.get(error["kind"], "`mlrun run --verbose` shows all that is said")
    return EnvironmentBuildError(f"the conda packages cannot be {doing}: {reason}", hint=hint)


def _certificates(site: Site) -> Mapping[str, str]:
    """Return the certificates that pip is configured with, where they are on this host."""
    path = site.installer.get("SSL_CERT_FILE")
    return {"SSL_CERT_FILE": path} if path and os.path.exists(path) else {}


def directory_name() -> str:
    """Return what the environment that has py-rattler is called among the cache's tools."""
    return f"{NAME}-{VERSION}-{host_platform()}"


def _root(site: Site) -> Path:
    return Path(os.path.realpath(site.cache / "tools"), directory_name())


def _own_place() -> str:
    """Return the directory, or the zip application, that this very code is imported from."""
    return os.fspath(Path(tool.__file__).parents[4])


def _make(site: Site, prefix: Path) -> Built:
    """Make the tool's environment at ``prefix``."""
    site.say(f"getting {NAME} {VERSION}, which solves and installs conda packages")
    asked = EnvironmentSpec("virtualenv", NAME, python=_PYTHON)
    interpreter = site.search.find(asked).interpreter
    uv = replace(site.uv, installer={k: v for k, v in site.uv.installer.items() if k not in _NOT_OURS})
    site.scratch.mkdir(parents=True, exist_ok=True)
    lines = site.scratch / "py-rattler.txt"
    lines.write_text(f"{NAME}=={VERSION} {' '.join(f'--hash=sha256:{one}' for one in _WHEELS)}\n", encoding="ascii")
    done = uv.ask("venv", "--quiet", "--no-project", "--no-config", "--python", interpreter.path, str(prefix))
    if done.code == 0:
        words = ["pip", "install", "--quiet", "--python", str(prefix / "bin" / "python"), "--only-binary", ":all:"]
        done = uv.ask(*words, "--require-hashes", *uv.options, "-r", str(lines), cwd=site.scratch)
    if done.code != 0:
        message = f"{NAME} {VERSION}, which installs conda packages, cannot be got from the package index"
        hint = "it needs the network once, or a configured index that has it; `--env-manager conda` uses your own conda"
        raise EnvironmentBuildError(f"{message}: {uv.reason(done)}", hint=hint)
    return _built(prefix, interpreter, uv.version)


def _built(prefix: Path, interpreter: Interpreter, by: str) -> Built:
    found, state = noted(prefix)
    made = InstalledEnvironment(
        kind="virtualenv",
        prefix=str(prefix),
        bin=str(prefix / "bin"),
        interpreter=interpreter,
        packages=installed.packages(prefix, [pylock.Locked(NAME, VERSION)]),
        built_by=by,
    )
    return Built(made, {one.name: one.digest for one in found}, state)
