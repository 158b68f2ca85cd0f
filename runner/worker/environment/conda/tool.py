"""Runs in an environment of its own, which has py-rattler: solves, fetches and installs conda packages.

The worker sends one request, a line of JSON, on standard input and keeps it open: when it closes, the worker is
gone, and so is this process. What is said and the answer go to standard output, one JSON object a line after a mark.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

from runner.worker.environment.conda.archives import (
    channel_of,
    client,
    fetched,
    file_of,
    hash_what_has_no_hash,
)
from runner.worker.environment.conda.linked import linking
from runner.worker.environment.conda.refusals import RefusalError, kind_of, words_of

MARK = "@mlrun "
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_INFO = re.compile(r"(?:^|/)site-packages/([^/]+?)-([^/-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info(?:/|$)")

Json = Any


def main() -> None:
    """Answer one request and end; py-rattler's threads do not survive an interpreter's orderly end."""
    request = json.loads(sys.stdin.buffer.readline())
    _end_with_the_worker()
    code = 0
    try:
        answer = asyncio.run(_OPERATIONS[request["operation"]](request))
        _send({"answer": answer})
    except RefusalError as error:
        code = _fail(error.kind, str(error))
    except OSError as error:
        code = _fail(
            "space" if error.errno == errno.ENOSPC else "files", f"{error.strerror or error}: {error.filename or ''}"
        )
    except BaseException as error:  # noqa: BLE001 - a panic of py-rattler is a BaseException
        code = _fail(kind_of(error), words_of(error))
    sys.stdout.flush()
    os._exit(code)


async def _solve(request: Json) -> Json:
    """Return the packages that answer to the specs, and the virtual packages that were taken into account."""
    import rattler

    virtual = _virtual(request)
    gateway = rattler.Gateway(
        cache_dir=Path(request["cache"]) / "repodata", client=client(), default_config=_source(request)
    )
    records = await rattler.solve(
        request["channels"],
        [_spec(text) for text in request["specs"]],
        gateway=gateway,
        platforms=[request["platform"], "noarch"],
        virtual_packages=virtual,
        locked_packages=[_record(one) for one in request["preferred"]],
        channel_priority=getattr(rattler.ChannelPriority, request["priority"].capitalize()),
        exclude_newer=_moment(request["exclude_newer"]),
        timestamp_policy="allow-missing",
        channel_relations="disabled",
    )
    packages = [_package(one) for one in records]
    await hash_what_has_no_hash(packages, Path(request["cache"]), _say)
    return {
        "packages": sorted(packages, key=lambda one: one["name"]),
        "virtual": [f"{one.name.normalized}={one.version}={one.build_string}" for one in virtual],
    }


async def _distributions(request: Json) -> Json:
    """Return the (name, version) of each Python distribution that packages hold."""
    from rattler.package_streaming import PackageArchive

    found = set()
    for path in await fetched(request["packages"], Path(request["cache"]), _say):
        archive = await PackageArchive.from_path(path)
        for entry in (await archive.paths_json()).paths:
            match = _INFO.search(Path(entry.relative_path).as_posix())
            if match:
                found.add((match.group(1), match.group(2)))
    return {"distributions": sorted(found)}


async def _install(request: Json) -> Json:
    """Install packages at a prefix: each archive is fetched and hashed first, and extracted for this prefix alone."""
    import rattler

    _expect_virtual(request)
    prefix, packages = Path(request["prefix"]), request["packages"]
    paths = await fetched(packages, Path(request["cache"]), _say)
    _say(f"installing {len(packages)} conda package{'s' if len(packages) > 1 else ''}")
    with linking(Path(request["extracted"]), packages) as reporter:
        await rattler.install(
            [_record(one, path.as_uri()) for one, path in zip(packages, paths)],
            prefix,
            cache_dir=Path(request["extracted"]),
            platform=rattler.Subdir(request["platform"]),
            execute_link_scripts=True,
            show_progress=False,
            client=client(),
            reporter=reporter,
        )
    scripts = _link_scripts(prefix, packages)
    _tell_where_from(prefix, packages)
    return {"scripts": scripts}


_OPERATIONS = {"solve": _solve, "distributions": _distributions, "install": _install}


def _virtual(request: Json) -> "list[Any]":
    from rattler.virtual_package import GenericVirtualPackage, VirtualPackage, VirtualPackageOverrides

    given = request["virtual"]
    if given is None:
        detected = VirtualPackage.detect(VirtualPackageOverrides.from_env())
        return [one.into_generic() for one in detected]
    import rattler

    found = []
    for text in given:
        name, _, rest = text.partition("=")
        version, _, build = rest.partition("=")
        found.append(
            GenericVirtualPackage(rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build))
        )
    return found


def _expect_virtual(request: Json) -> None:
    """Refuse packages that need of the host what it does not have: a newer C library, a GPU's driver."""
    import rattler

    here = {one.name.normalized: one for one in _virtual({"virtual": None})}
    for package in request["packages"]:
        for text in package["depends"]:
            if not text.startswith("__"):
                continue
            spec = rattler.MatchSpec(text, strict=False)
            name = text.split()[0].split("=")[0].split(">")[0].split("<")[0]
            one = here.get(name)
            if one is None or not spec.matches(_stand_in(one)):
                has = f"{name} {one.version}" if one else f"no {name}"
                raise RefusalError(
                    f"{package['name']} {package['version']} needs {text}, and this host has {has}", kind="virtual"
                )


def _stand_in(one: Any) -> Any:
    import rattler

    return rattler.PackageRecord(
        one.name.normalized, str(one.version), rattler.BuildString(str(one.build_string)), 0, "noarch"
    )


def _spec(text: str) -> Any:
    import rattler

    try:
        return rattler.MatchSpec(text, strict=False)
    except Exception as error:  # noqa: BLE001
        raise RefusalError(f"{text!r} is no conda package: {error}", kind="spec") from None


def _record(one: Json, url: Optional[str] = None) -> Any:
    import rattler

    record = rattler.PackageRecord(
        one["name"],
        one["version"],
        rattler.BuildString(one["build"]),
        one["build_number"],
        one["subdir"],
        noarch=one["noarch"],
        depends=one["depends"],
        constrains=one["constrains"],
        sha256=bytes.fromhex(one["sha256"]),
        md5=bytes.fromhex(one["md5"]) if one["md5"] else None,
        size=one["size"],
        python_site_packages_path=one["python_site_packages_path"],
    )
    return rattler.RepoDataRecord(record, file_of(one), url or one["url"], channel_of(one))


def _package(record: Any) -> Json:
    """Return a record as the lock has it; its sha256 is "" where the channel names none."""
    known = json.loads(record.to_json())
    noarch = known.get("noarch")
    return {
        "name": known["name"],
        "version": known["version"],
        "build": known["build"],
        "build_number": known["build_number"],
        "subdir": known["subdir"],
        "url": _bare(record.url),
        "sha256": known.get("sha256") or "",
        "md5": known.get("md5"),
        "size": known.get("size"),
        "timestamp": known.get("timestamp"),
        "noarch": noarch if noarch in ("python", "generic") else None,
        "python_site_packages_path": known.get("python_site_packages_path"),
        "depends": known.get("depends") or [],
        "constrains": known.get("constrains") or [],
    }


def _bare(url: str) -> str:
    """Return a URL without user, password and token."""
    return re.sub(r"(?<=/)t/[^/]+/", "", re.sub(r"^(\w+://)[^/@]*@", r"\1", url), count=1)


def _tell_where_from(prefix: Path, packages: "list[Json]") -> None:
    """Write into conda-meta where packages are from, not where the cache had them."""
    for one in packages:
        path = prefix / "conda-meta" / f"{one['name']}-{one['version']}-{one['build']}.json"
        meta = json.loads(path.read_bytes())
        meta.update(url=one["url"], channel=channel_of(one), extracted_package_dir=None)
        meta.pop("link", None)
        path.unlink()
        path.write_text(json.dumps(meta), encoding="utf-8")  # without white space: by the encoder in C


def _link_scripts(prefix: Path, packages: Iterable[Json]) -> "list[str]":
    """Return the packages that ran a script of their own when they were installed."""
    names = {one["name"] for one in packages}
    found = [path.name[1 : -len("-post-link.sh")] for path in prefix.glob("bin/.*-post-link.sh")]
    return sorted(name for name in found if name in names)


def _source(request: Json) -> Any:
    from rattler.repo_data.gateway import SourceConfig

    return SourceConfig(cache_action="force-cache-only" if request["offline"] else "cache-or-fetch")


def _moment(text: Optional[str]) -> Any:
    return None if text is None else dt.datetime.fromisoformat(text.replace("Z", "+00:00"))


def _end_with_the_worker() -> None:
    """See to it that nothing is written any more once the worker is dead, and another one may build here."""
    with contextlib.suppress(OSError, AttributeError):  # Linux alone can tell the kernel; it is faster than the pipe
        import ctypes

        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()


def _end_with_the_pipe() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _say(text: str) -> None:
    _send({"say": text})


def _fail(kind: str, message: str) -> int:
    _send({"error": {"kind": kind, "message": message.strip().rstrip(".:")}})
    return 1


def _send(value: Json) -> None:
    sys.stdout.write(MARK + json.dumps(value) + "\n")
    sys.stdout.flush()
