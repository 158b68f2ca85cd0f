"""A conda channel in a directory, with packages made by hand: small ones, and a python that is this machine's own."""

import hashlib
import io
import json
import platform
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

PREFIX = "/opt/placeholder" + "_placehold" * 20  # what packages have where their prefix goes
HERE = f"linux-{ {'x86_64': '64'}.get(platform.machine(), platform.machine()) }"


class Channel:
    """A channel: ``url`` is what a conda.yaml names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for subdir in (HERE, "noarch"):
            self._change(subdir)

    @property
    def url(self) -> str:
        return self.path.as_uri()

    def package(
        self,
        name: str,
        version: str = "1.0",
        files: dict[str, str | bytes] | None = None,
        *,
        links: dict[str, str] | None = None,
        subdir: str = HERE,
        build: str = "0",
        told: dict[str, Any] | None = None,
        **index: Any,
    ) -> Path:
        """Write a package and list it; ``told`` is what the channel says of it that is not so."""
        contents = {path: text.encode() if isinstance(text, str) else text for path, text in (files or {}).items()}
        index = {"name": name, "version": version, "build": build, "build_number": 0, "depends": [], **index}
        index.update(subdir=subdir, timestamp=index.get("timestamp", 1_700_000_000_000), license="MIT")
        paths = [_entry(path, data) for path, data in contents.items()]
        paths += [
            {"_path": path, "path_type": "softlink", "sha256": "0" * 64, "size_in_bytes": 0} for path in links or {}
        ]
        info = {"info/index.json": index, "info/paths.json": {"paths": paths, "paths_version": 1}}
        if index.get("noarch") == "python":
            info["info/link.json"] = {"noarch": {"type": "python", "entry_points": []}, "package_metadata_version": 1}
        archive = self.path / subdir / f"{name}-{version}-{build}.tar.bz2"
        _write(archive, {**{path: json.dumps(value).encode() for path, value in info.items()}, **contents}, links or {})
        data = archive.read_bytes()
        hashes = {"sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest()}
        self._change(subdir, archive.name, {**index, **hashes, "size": len(data), **(told or {})})
        return archive

    def python(self, executable: str = sys.executable, version: str | None = None) -> Path:
        """Write a python that is an interpreter of this machine, in a prefix of its own."""
        real = Path(executable).resolve()
        version = version or ".".join(map(str, sys.version_info[:3]))
        series = ".".join(version.split(".")[:2])
        files = {
            "pyvenv.cfg": f"home = {real.parent}\nversion = {version}\n",
            f"lib/python{series}/site-packages/README.txt": "packages go here\n",
        }
        links = {f"bin/python{series}": str(real), "bin/python3": f"python{series}", "bin/python": f"python{series}"}
        return self.package("python", version, files, links=links)

    def module(self, name: str, version: str = "1.0", text: str = "", **index: Any) -> Path:
        """Write a noarch package with one Python module, of which the metadata says so."""
        info = f"site-packages/{name}-{version}.dist-info"
        files = {
            f"site-packages/{name}.py": f"VERSION = {version!r}\n{text}",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/INSTALLER": "conda\n",
        }
        listed = [*files, f"{info}/RECORD"]
        files[f"{info}/RECORD"] = "".join(f"{path[len('site-packages/') :]},,\n" for path in listed)
        index.setdefault("depends", ["python >=3.8"])
        return self.package(name, version, files, subdir="noarch", noarch="python", **index)

    def remove(self, archive: Path) -> None:
        """Take a package off the channel."""
        archive.unlink()
        self._change(archive.parent.name, archive.name, None)

    def replace(self, archive: Path, other: Path) -> None:
        """List another archive, of another form, in the place of one."""
        path = archive.parent / "repodata.json"
        known = json.loads(path.read_text())
        data, record = other.read_bytes(), known["packages"].pop(archive.name)
        hashes = {"sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest(), "size": len(data)}
        known.setdefault("packages.conda", {})[other.name] = {**record, **hashes}
        path.write_text(json.dumps(known))
        archive.unlink()

    def _change(self, subdir: str, file: str = "", record: dict[str, Any] | None = None) -> None:
        path = self.path / subdir / "repodata.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        known = json.loads(path.read_text()) if path.exists() else {"info": {"subdir": subdir}, "packages": {}}
        if record is not None:
            known["packages"][file] = {key: value for key, value in record.items() if value is not None}
        else:
            known["packages"].pop(file, None)
        path.write_text(json.dumps({"packages.conda": {}, **known, "repodata_version": 1}))


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry = {"_path": path, "path_type": "hardlink", "sha256": hashlib.sha256(data).hexdigest()}
    prefix = {"prefix_placeholder": PREFIX, "file_mode": "text"} if PREFIX.encode() in data else {}
    return {**entry, "size_in_bytes": len(data), **prefix}


def _write(archive: Path, files: dict[str, bytes], links: dict[str, str]) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:bz2", compresslevel=1) as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.mode, member.size = 0o755 if path.startswith("bin/") else 0o644, len(data)
            tar.addfile(member, io.BytesIO(data))
        for path, target in links.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)


def real_python(channel: Channel, executable: str) -> str | None:
    """Write a python that is a copy of an interpreter's own files; its version, or None where it cannot be copied.

    Left out is what no test needs. Debian's interpreters look for packages in another place than conda's do.
    """
    ask = (
        "import json, sys, sysconfig; print(json.dumps([sys.base_prefix, sys.version.split()[0],"
        " sysconfig.get_path('stdlib'), sysconfig.get_path('purelib'), sysconfig.get_config_var('INSTSONAME') or '']))"
    )
    done = subprocess.run([executable, "-I", "-c", ask], capture_output=True, text=True, check=True)
    base, version, library, pure, shared = json.loads(done.stdout)
    if not pure.endswith("site-packages"):
        return None
    series = "python" + ".".join(version.split(".")[:2])
    skipped = {
        "test",
        "tests",
        "__pycache__",
        "site-packages",
        "idlelib",
        "tkinter",
        "turtledemo",
        "lib2to3",
        "pydoc_data",
    }
    files: dict[str, str | bytes] = {f"bin/{series}": Path(base, "bin", series).read_bytes()}
    for path in Path(library).rglob("*"):
        inside = path.relative_to(library)
        if path.is_file() and skipped.isdisjoint(inside.parts) and not inside.parts[0].startswith("config-"):
            files[f"lib/{series}/{inside.as_posix()}"] = path.read_bytes()
    library_file = Path(base, "lib", shared)
    if shared and library_file.is_file():
        files[f"lib/{shared}"] = library_file.read_bytes()
    files[f"lib/{series}/site-packages/README.txt"] = "packages go here\n"
    channel.package("python", version, files, links={"bin/python3": series, "bin/python": series})
    version_: str = version
    return version_
