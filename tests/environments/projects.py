"""Projects of the user's own that install without a network: their build backend lies beside them."""

from pathlib import Path

_BACKEND = """
import base64, hashlib, os, zipfile

NAME, VERSION, REQUIRES = {name!r}, "0.1", {requires!r}


def _wheel(folder, module):
    os.makedirs(f"{{NAME}}.egg-info", exist_ok=True)  # as setuptools does
    info = f"{{NAME}}-{{VERSION}}.dist-info"
    metadata = f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n"
    metadata += "".join(f"Requires-Dist: {{one}}\\n" for one in REQUIRES)
    files = {{**module, f"{{info}}/METADATA": metadata,
             f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}}
    file = f"{{NAME}}-{{VERSION}}-py3-none-any.whl"
    record = "".join(f"{{path}},sha256={{_digest(text)}},{{len(text)}}\\n" for path, text in files.items())
    with zipfile.ZipFile(os.path.join(folder, file), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{{info}}/RECORD", record + f"{{info}}/RECORD,,\\n")
    return file


def _digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def build_wheel(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {{f"{{NAME}}.py": open(f"{{NAME}}.py").read()}})


def build_editable(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {{f"_{{NAME}}.pth": os.getcwd() + "\\n"}})


def build_sdist(folder, config_settings=None):
    raise NotImplementedError
"""


def make_project(folder: Path, name: str, *requires: str) -> None:
    """Write a project with one module, and a backend that builds it as it is and as editable."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text("VALUE = 1\n")
    (folder / "backend.py").write_text(_BACKEND.format(name=name, requires=requires))
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "0.1"\ndependencies = {list(requires)!r}\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
