"""Tiny wheels, written by hand, in a directory that uv finds links in: no network, no build."""

import base64
import csv
import hashlib
import io
import zipfile
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: tuple[str, ...] = (),
    text: str = "",
    tag: str = "py3-none-any",
) -> Path:
    """Write a wheel with one module of the distribution's name; ``text`` is its source."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
        f"Requires-Dist: {one}\n" for one in requires
    )
    files = {
        f"{name}/__init__.py": f"VERSION = {version!r}\n{text}\n",
        f"{name}/data.txt": "data\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-tool = {name}:main\n",
    }
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(zipfile.ZipInfo(file), content)
        archive.writestr(
            zipfile.ZipInfo(f"{info}/RECORD"),
            _record({file: content.encode() for file, content in files.items()}, info),
        )
    return path


def make_uv_wheel(folder: Path, version: str, tag: str, program: bytes, *, listed: bytes | None = None) -> Path:
    """Write a wheel of uv as its makers do, with a program in it; ``listed`` are other bytes that it claims to have."""
    folder.mkdir(parents=True, exist_ok=True)
    info, member = f"uv-{version}.dist-info", f"uv-{version}.data/scripts/uv"
    files = {
        "uv/__init__.py": b"",
        member: program,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: uv\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: false\nTag: py3-none-{tag}\n".encode(),
    }
    path = folder / f"uv-{version}-py3-none-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(zipfile.ZipInfo(file), content)
        archive.writestr(f"{info}/RECORD", _record({**files, member: program if listed is None else listed}, info))
    return path


def _record(files: dict[str, bytes], info: str) -> str:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    for file, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        writer.writerow([file, f"sha256={digest}", len(content)])
    writer.writerow([f"{info}/RECORD", "", ""])
    return lines.getvalue()
