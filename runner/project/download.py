"""Remote values of `path` parameters, fetched through fsspec into a directory named by what was fetched."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from runner.errors import ProjectError
from runner.sources.uri import strip_userinfo
from runner.worker.files import note_use
from runner.worker.hashing import digest_of_directory, sha256_of, sha256_of_file

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure",
           "adl": "azure", "http": "http", "https": "http"}  # fmt: skip
_MLFLOW = ("runs", "models", "mlflow-artifacts", "dbfs")


def download(name: str, url: str, downloads: Path) -> str:
    """Return the local path of what a URL names, below ``downloads``: equal bytes of equal URLs at equal paths.

    ProjectError in one line, without the password a URL may hold.
    """
    scheme = url.partition(":")[0].lower()
    public = strip_userinfo(url)
    system, source = _open(name, url, scheme, public)
    downloads.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".fetching-", dir=downloads))
    try:
        target = aside / (source.rstrip("/").rpartition("/")[2] or "data")
        _get(system, source, target, f"{name}: {public}")
        digest = sha256_of(f"{public}\n{_digest(target)}".encode("utf-8", "surrogateescape"))
        home = downloads / digest[:16]
        if not home.exists():
            try:
                aside.rename(home)
            except OSError:
                if not home.exists():  # else another run was first, with the same bytes
                    raise
        note_use(home)
        return str(home.absolute() / target.name)
    except OSError as error:
        message = f"{name}: {public} cannot be fetched: {_reason(error)}"
        raise ProjectError(message, hint="check the address, and that you may read it") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _open(name: str, url: str, scheme: str, public: str) -> tuple[Any, str]:
    import fsspec  # type: ignore[import-untyped]

    if scheme in _MLFLOW:
        message = f"{name}: {public} is an address within MLflow, which mlrun cannot fetch"
        raise ProjectError(message, hint="`mlflow artifacts download` fetches it; give the path it prints")
    if scheme in ("file", "local"):
        message = f"{name}: {public} names a file of another host, or none"
        raise ProjectError(message, hint="give the path of a file on this machine, or file:///PATH")
    try:
        system, source = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        message = f"{name}: reading {scheme}: needs a package that is not installed"
        cure = f"pip install 'mlproject-runner[{extra}]'" if extra else _reason(error)
        raise ProjectError(message, hint=cure) from None
    except ValueError:
        message = f"{name}: {public!r} is no file here, and {scheme!r} is no scheme that can be fetched"
        raise ProjectError(message, hint="check the path, or give a URL such as https:// or s3://") from None
    return system, str(source)


def _get(system: Any, source: str, target: Path, what: str) -> None:
    try:
        # Asking an HTTP server for a directory means reading the whole file in search of links.
        listable = source.endswith("/") or not source.startswith(("http:", "https:"))
        if listable and system.isdir(source):
            system.get(source.rstrip("/") + "/", f"{target}/", recursive=True)
        else:
            system.get_file(source, str(target))
    except FileNotFoundError:
        message = f"{what} does not exist"
        raise ProjectError(message, hint="check the address, and that you may read it") from None
    except Exception as error:  # noqa: BLE001 - each file system of fsspec raises errors of its own
        message = f"{what} cannot be fetched: {_reason(error)}"
        raise ProjectError(message, hint="check the address, the network, and that you may read it") from None
    if not target.exists():
        raise ProjectError(f"{what} does not exist", hint="check the address, and that you may read it")


def _digest(target: Path) -> str:
    if target.is_file():
        return sha256_of_file(target)
    files = (path for path in target.rglob("*") if path.is_file())
    return digest_of_directory((path.relative_to(target).as_posix(), sha256_of_file(path)) for path in files)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return strip_userinfo(text[:300])
