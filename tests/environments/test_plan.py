"""From environment files to specs: what is chosen, what is read, what is wrong, and what is kept secret."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from runner.environments.choice import Choice
from runner.environments.plan import Planned, plan
from runner.errors import MlrunError, ProjectError, UsageError
from runner.worker.codec import encode
from runner.worker.hashing import sha256_of
from tests.environments.projects import make_project

_ENVIRON = {"PIP_CONFIG_FILE": "/dev/null", "HOME": "/nonexistent"}
_SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "python_env.schema.json").read_text())


def planned(project: Path, choice: Choice | None = None, **wishes) -> Planned:
    environ = {**_ENVIRON, **wishes.pop("environ", {})}
    return plan(project, choice or Choice(), caller_environ=environ, **wishes)


def write(project: Path, **files: str) -> None:
    for name, text in files.items():
        (project / name.replace("__", ".")).write_text(text)


def test_a_python_env_is_read(tmp_path: Path) -> None:
    text = 'python: "3.11"\nbuild_dependencies:\n  - pip==23.0  # old\ndependencies:\n  - numpy<2\n  - -r more.txt\n'
    write(tmp_path, python_env__yaml=text, more__txt="pandas\n")
    spec = planned(tmp_path, Choice("python_env", "python_env.yaml")).spec
    assert (spec.kind, spec.source, spec.python, spec.manager) == ("virtualenv", "python_env.yaml", "3.11", None)
    assert spec.build_requirements == ("pip==23.0",)
    assert spec.requirements == ("numpy<2", "-r more.txt")
    assert [(file.path, file.sha256) for file in spec.files] == [
        ("python_env.yaml", sha256_of(text.encode())),
        ("more.txt", sha256_of(b"pandas\n")),
    ]


def test_an_unquoted_version_is_what_was_meant(tmp_path: Path) -> None:
    write(tmp_path, python_env__yaml="# a comment\npython: 3.10\n")
    found = planned(tmp_path)
    assert found.spec.python == "3.10"
    (warning,) = found.warnings
    assert warning.startswith("python_env.yaml, line 2: python: 3.10 without quotes is a number in YAML (3.1)")


@pytest.mark.parametrize("python", ["", "python:\n", "python: ~\n"])
def test_no_version_is_mlruns_own(tmp_path: Path, python: str) -> None:
    write(tmp_path, python_env__yaml=f"{python}dependencies: [numpy]\n")
    assert planned(tmp_path).spec.python is None


def test_an_unknown_key_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, python_env__yaml="dependancies: [numpy]\n")
    assert "line 1: dependancies means nothing here" in planned(tmp_path).warnings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "python_env.yaml is empty"),
        ("# nothing\n", "python_env.yaml is empty"),
        ("- numpy\n", "python_env.yaml, line 1: a mapping of keys is expected, not a list"),
        ("python: 3.x\n", "python_env.yaml, line 1: python: '3.x' is no Python version"),
        ('\npython: "2.7"\n', "python_env.yaml, line 2: python: 2.7 is too old: virtual environments are made for"),
        ("python: '==3.5.*'\n", "python_env.yaml, line 1: python: ==3.5.* is too old"),
        ("python: [3, 10]\n", "python_env.yaml, line 1: python: a text is expected, not a list"),
        ("python: '3.9'\npython: '3.10'\n", "python_env.yaml, line 2: python is there twice, first on line 1"),
        ("\ndependencies: numpy\n", "python_env.yaml, line 2: dependencies: a list is expected, not a text"),
        (
            "dependencies:\n  - a\n  - numpy: 1.0\n",
            "python_env.yaml, line 3: dependencies: a text is expected, not a mapping",
        ),
        ("dependencies:\n  - a\n  -\n", "python_env.yaml, line 3: dependencies: an item is empty"),
        ("dependencies: [a\n", "python_env.yaml, line 2: this is no YAML"),
        ("? [a]\n: b\n", "python_env.yaml, line 1: a key has to be a text"),
        ("dependencies:\n  - -r gone.txt\n", "python_env.yaml, line 2: -r gone.txt: there is no file gone.txt"),
        ("dependencies:\n  - ./gone\n", "python_env.yaml, line 2: ./gone: there is nothing at gone"),
        ("dependencies:\n  - -e .\n", "python_env.yaml, line 2: -e .: . holds no pyproject.toml and no setup.py"),
        (
            "x: &a [1]\n" + "".join(f"x{n}: &a{n} [{'*a' + str(n - 1) if n else '*a'}]\n" for n in range(3)) + "{",
            "no YAML",
        ),
        ("[" * 100_000, "python_env.yaml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, python_env__yaml=text)
    with pytest.raises(ProjectError) as caught:
        planned(tmp_path)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def _projects(root: Path, *folders: str) -> None:
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        write(root / folder, pyproject__toml="[build-system]\n")


def test_projects_in_a_list_of_another_directory_are_where_pip_is_called(tmp_path: Path) -> None:
    _projects(tmp_path, ".", "lib", "lists")
    write(tmp_path, python_env__yaml="dependencies: ['-r lists/all.txt']\n")
    write(tmp_path / "lists", all__txt="-e .\nmine @ ./lib\n-c limits.txt\n", limits__txt="")
    files = [file.path for file in planned(tmp_path).spec.files]
    assert files == ["python_env.yaml", "lists/all.txt", "pyproject.toml", "lib/pyproject.toml", "lists/limits.txt"]


def test_a_pip_part_is_relative_to_its_conda_file_and_in_a_virtual_environment_to_the_project(tmp_path: Path) -> None:
    _projects(tmp_path, "conf")
    write(tmp_path / "conf", all__txt="-e .\n", env__yaml="dependencies: [python, {pip: [-r all.txt]}]\n")
    choice = Choice("conda_env", "conf/env.yaml")
    files = [file.path for file in planned(tmp_path, choice).spec.files]
    assert files == ["conf/env.yaml", "conf/all.txt", "conf/pyproject.toml"]
    with pytest.raises(ProjectError, match=r"conf/env\.yaml, line 1: -r all\.txt: there is no file all\.txt") as caught:
        planned(tmp_path, choice, manager="virtualenv")
    assert caught.value.hint == "it is relative to the project"
    (tmp_path / "conf" / "all.txt").unlink()
    with pytest.raises(ProjectError, match=r"line 1: -r all\.txt: there is no file conf/all\.txt") as caught:
        planned(tmp_path, choice)
    assert caught.value.hint == "it is relative to conf/"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00python", b"python: '3.9'\x00\n", b"a" * (2 << 20)])
def test_bytes_that_are_no_text_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "python_env.yaml").write_bytes(content)
    with pytest.raises(ProjectError, match=r"^python_env\.yaml"):
        planned(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"^conf/env\.yaml cannot be read: No such file"):
        planned(tmp_path, Choice("python_env", "conf/env.yaml"))
    with pytest.raises(ProjectError, match=r"^conda\.yaml cannot be read"):
        planned(tmp_path, Choice("conda_env", "conda.yaml"))


def test_paths_are_of_the_project_also_from_a_file_further_down(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "env.yaml").write_text("dependencies: ['-r reqs/all.txt']\n")
    (tmp_path / "reqs").mkdir()
    (tmp_path / "reqs" / "all.txt").write_text(
        "-r base.txt\n-c ../limits.txt\n--requirement=base.txt\npandas \\\n  >=2\n"
    )
    (tmp_path / "reqs" / "base.txt").write_text("-r all.txt\nnumpy\n")
    write(tmp_path, limits__txt="numpy<2\n")
    spec = planned(tmp_path, Choice("python_env", "conf/env.yaml")).spec
    assert [file.path for file in spec.files] == ["conf/env.yaml", "reqs/all.txt", "reqs/base.txt", "limits.txt"]
    assert spec.requirements == ("-r reqs/all.txt",)


@pytest.mark.parametrize("line", ["-e .", "-e.", "--editable=.", ".", "mine @ file:.", "./", ".[extra]"])
def test_a_local_project_is_known_by_what_decides_it(tmp_path: Path, line: str) -> None:
    make_project(tmp_path, "mine")
    write(tmp_path, python_env__yaml=f"dependencies: ['{line}']\n")
    spec = planned(tmp_path).spec
    assert spec.requirements == (line,)
    assert [file.path for file in spec.files] == ["python_env.yaml", "pyproject.toml"]


def test_a_line_that_is_no_requirement_is_named_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, requirements__txt="# first\nnumpy \\\n  >=2  # fine\n\nnumpy=1.21  # conda's way\n-r more.txt\n")
    write(tmp_path, more__txt="six\n")
    with pytest.raises(ProjectError, match=r"^requirements\.txt, line 5: 'numpy=1\.21' is no requirement: "):
        planned(tmp_path)
    write(tmp_path, requirements__txt="-r more.txt\n", more__txt="\nsix six\n")
    with pytest.raises(ProjectError, match=r"^more\.txt, line 2: 'six six' is no requirement: "):
        planned(tmp_path)
    write(tmp_path, conda__yaml="dependencies:\n  - python=3.11\n  - pip:\n    - six>1 <2\n")
    with pytest.raises(ProjectError, match=r"^conda\.yaml, line 4: 'six>1 <2' is no requirement: "):
        planned(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("project = 1\n", "pyproject.toml: project: a table is expected"),
        ('[project]\ndependencies = "numpy"\n', "pyproject.toml: project.dependencies: a list of texts is expected"),
        ("[project]\ndependencies = [1]\n", "pyproject.toml: project.dependencies: a list of texts is expected"),
        ('[project]\ndependencies = ["a b"]\n', "pyproject.toml: 'a b' is no requirement"),
    ],
)
def test_a_pyproject_of_wrong_types_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, pyproject__toml=text)
    with pytest.raises(ProjectError, match=f"^{re.escape(message)}"):
        planned(tmp_path)


_CHOICES = {
    "python_env.yaml": "python: '3.11'\n",
    "conda.yaml": "dependencies: [python=3.11]\n",
    "conda.yml": "dependencies: [python=3.11]\n",
    "uv.lock": "version = 1\n",
    "pylock.toml": 'lock-version = "1.0"\nrequires-python = ">=3.9"\npackages = []\n',
    "requirements.txt": "numpy\n",
    "pyproject.toml": '[project]\nname = "p"\nversion = "1"\ndependencies = ["numpy"]\nrequires-python = ">=3.9"\n',
}


def test_what_lies_there_is_chosen_in_a_fixed_order(tmp_path: Path) -> None:
    for name, text in _CHOICES.items():
        (tmp_path / name).write_text(text)
    chosen = []
    for name in _CHOICES:
        chosen.append(planned(tmp_path).spec.source)
        if name != "pyproject.toml":
            (tmp_path / name).unlink()
    assert chosen == list(_CHOICES)
    (tmp_path / "pyproject.toml").unlink()
    assert planned(tmp_path).spec == type(planned(tmp_path).spec)("virtualenv")


def test_the_named_file_wins(tmp_path: Path) -> None:
    write(tmp_path, python_env__yaml="python: '3.11'\n", other__yaml="dependencies: [python=3.10]\n")
    assert planned(tmp_path, Choice("conda_env", "other.yaml")).spec.kind == "conda"


def test_pyproject_and_its_python(tmp_path: Path) -> None:
    write(tmp_path, pyproject__toml=_CHOICES["pyproject.toml"])
    spec = planned(tmp_path).spec
    assert (spec.requirements, spec.python) == (("numpy",), ">=3.9")
    (tmp_path / ".python-version").write_text("3.11\n")
    spec = planned(tmp_path).spec
    assert spec.python == "3.11"
    assert ".python-version" in [file.path for file in spec.files]


def test_a_pyproject_that_can_be_built_is_installed(tmp_path: Path) -> None:
    make_project(tmp_path, "mine", "numpy")
    assert planned(tmp_path).spec.requirements == ("-e .",)


def test_a_pyproject_of_settings_alone_asks_for_nothing(tmp_path: Path) -> None:
    write(tmp_path, pyproject__toml="[tool.ruff]\nline-length = 88\n")
    assert planned(tmp_path).spec.source == ""


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock"])
def test_broken_toml_is_one_line(tmp_path: Path, name: str) -> None:
    write(tmp_path, uv__lock="version = 1\n") if name == "uv.lock" else None
    write(tmp_path, pyproject__toml="[project\n")
    with pytest.raises(ProjectError, match=r"^pyproject\.toml, line 1: no valid TOML"):
        planned(tmp_path)


def test_a_uv_lock_alone_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, uv__lock="version = 1\n")
    with pytest.raises(ProjectError, match=r"no pyproject\.toml beside it"):
        planned(tmp_path)


_FORGE = "https://conda.anaconda.org/conda-forge"
_CONDA = """name: x
channels: [conda-forge]
dependencies:
  - python=3.8.13=h12debd9_0
  - pip<=21
  - conda-forge::libgdal>=3
  - bioconda/noarch::six
  - numpy=1.21
  - pip:
      - mlflow>=1.0
      - -r more.txt
"""


def test_a_conda_file_is_planned_as_one(tmp_path: Path) -> None:
    write(tmp_path, conda__yaml=_CONDA, more__txt="pandas\n")
    spec, bio = planned(tmp_path).spec, "https://conda.anaconda.org/bioconda"
    assert (spec.kind, spec.source, spec.python, spec.channels) == ("conda", "conda.yaml", "3.8.13", (_FORGE, bio))
    others = (f"{_FORGE}::libgdal>=3", f"{bio}/noarch::six")
    assert spec.packages == ("python=3.8.13=h12debd9_0", "pip<=21", *others, "numpy=1.21")
    assert spec.requirements == ("mlflow>=1.0", "-r more.txt")
    assert [file.path for file in spec.files] == ["conda.yaml", "more.txt"]


@pytest.mark.parametrize("manager", ["virtualenv", "uv"])
def test_a_virtual_environment_takes_python_and_pip_of_a_conda_file(tmp_path: Path, manager: str) -> None:
    write(tmp_path, conda__yaml=_CONDA, more__txt="pandas\n")
    found = planned(tmp_path, manager=manager)
    spec = found.spec
    assert (spec.kind, spec.python, spec.manager) == ("virtualenv", "3.8.13", manager)
    assert spec.build_requirements == ("pip<=21",)
    assert spec.requirements == ("mlflow>=1.0", "-r more.txt")
    others = ("conda-forge::libgdal>=3", "bioconda/noarch::six", "numpy=1.21")
    assert found.warnings == (f"conda.yaml: only conda has these, and they are left out: {', '.join(others)}",)


@pytest.mark.parametrize(
    ("pin", "python"),
    [
        ("python=3.9", "3.9"),
        ("python==3.9.1", "3.9.1"),
        ("python 3.9", "3.9"),
        ("python=3.9.*", "3.9"),
        ("python>=3.9,<3.12", ">=3.9,<3.12"),
        ("conda-forge::python =3.9", "3.9"),
        ('python[version=">=3.9,<3.12", build="*_cpython"]', ">=3.9,<3.12"),
        ("python=3.9[build=*_cpython]", "3.9"),
        ("python=*=*_cpython", None),
        ("python", None),
        ("numpy", None),
    ],
)
def test_a_conda_python_pin(tmp_path: Path, pin: str, python: str | None) -> None:
    write(tmp_path, conda__yaml=f"dependencies:\n  - '{pin}'\n")
    found = planned(tmp_path, manager="virtualenv")
    assert found.spec.python == python
    assert any("python" in warning for warning in found.warnings) is (python is None)
    assert planned(tmp_path).spec.python == python
    assert planned(tmp_path).warnings == ()


@pytest.mark.parametrize(
    ("pin", "line"),
    [
        ("pip=22.0.4", "pip==22.0.4"),
        ("setuptools=65.*", "setuptools==65.*"),
        ("wheel 0.4.* py_0", "wheel==0.4.*"),
        ("pip=*", "pip"),
        ('pip[version=">=21,<24"]', "pip>=21,<24"),
    ],
)
def test_a_conda_pin_of_what_a_package_index_has(tmp_path: Path, pin: str, line: str) -> None:
    write(tmp_path, conda__yaml=f"dependencies:\n  - '{pin}'\n")
    assert planned(tmp_path, manager="virtualenv").spec.build_requirements == (line,)


def test_merged_keys_of_an_environment_file_count(tmp_path: Path) -> None:
    write(
        tmp_path,
        conda__yaml="a: &a {channels: [one], dependencies: [old]}\n"
        "b: &b {<<: *a, variables: {X: '1'}, channels: [two]}\n<<: [*b, *a]\ndependencies: [new]\n",
    )
    spec = planned(tmp_path).spec
    assert (spec.packages, spec.variables) == (("new",), ("X=1",))
    assert spec.channels == ("https://conda.anaconda.org/two",)
    for text, message in (
        ("<<: text\n", r"conda\.yaml, line 1: `<<` merges mappings, and this is a text"),
        ("&a\n<<: *a\n", r"conda\.yaml, line 1: a mapping is merged into itself"),
    ):
        write(tmp_path, conda__yaml=text)
        with pytest.raises(ProjectError, match=message):
            planned(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("channels: ['$OURS']\n", "conda.yaml: a channel names a variable that is not set: OURS"),
        ("channels: ['https://${OURS}@h.org/c']\n", "a channel names a variable that is not set: OURS"),
        ("dependencies: ['https://$OURS@h.org/c/noarch/a-1-0.conda']\n", "a variable that is not set: OURS"),
        ("channels: ['http://u:word@[::1/c']\n", "the channel 'http://[::1/c' is no address: "),
        ("channels: ['']\n", "a channel has no name"),
        (
            "dependencies:\n  - 'https://h.org/c/noarch/a-1-0.conda#0123456789abcdef0123456789abcdef'\n",
            "conda.yaml, line 2: dependencies: a digest behind the address of a package is not held to",
        ),
    ],
)
def test_a_channel_that_cannot_be_meant_is_told(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, conda__yaml=text)
    with pytest.raises(ProjectError) as caught:
        planned(tmp_path).expect_set()
    assert message in caught.value.message
    assert caught.value.hint


def test_addresses_of_packages_are_planned_without_their_logins(tmp_path: Path) -> None:
    write(
        tmp_path,
        conda__yaml="channels: [c]\ndependencies: ['https://u:$WORD@h.org/c/noarch/a-1-0.conda', "
        "'b[channel=\"https://u:word@i.org/d\", version=1]', '../a b::c=1', 'https://j.org/e::f[build=0]']\n",
    )
    found = planned(tmp_path, environ={"WORD": "word"})
    beside = (tmp_path.parent / "a b").as_uri()
    assert found.spec.packages == (
        "https://h.org/c/noarch/a-1-0.conda",
        'b[channel="https://i.org/d", version=1]',
        f"{beside}::c=1",
        "https://j.org/e::f[build=0]",
    )
    assert found.spec.channels == ("https://conda.anaconda.org/c", beside, "https://j.org/e")
    login = {"BasicHTTP": {"username": "u", "password": "word"}}
    assert json.loads(found.installer["MLRUN_CONDA_LOGINS"]) == {"h.org": login, "i.org": login}


def test_a_virtual_environment_sets_no_variables_of_a_conda_file_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, conda__yaml="dependencies: [python=3.11]\nvariables: {A: '1', B: secret}\n")
    assert planned(tmp_path).spec.variables == ("A=1", "B=secret")
    found = planned(tmp_path, manager="virtualenv")
    assert found.spec.variables == ()
    assert found.warnings == ("conda.yaml: only conda sets these variables, and they are left out: A, B",)


def test_a_conda_dependency_with_a_colon_is_told(tmp_path: Path) -> None:
    write(tmp_path, conda__yaml="dependencies:\n  - numpy: 1.0\n")
    with pytest.raises(ProjectError, match=r"conda\.yaml, line 2: numpy: a conda package, or a `pip:` list"):
        planned(tmp_path)


def test_managers(tmp_path: Path) -> None:
    write(tmp_path, python_env__yaml="python: '3.11'\n")
    assert planned(tmp_path, manager="local").spec.kind == "host"
    assert planned(tmp_path, manager="uv").spec.manager == "uv"
    with pytest.raises(ProjectError, match="conda cannot make an environment from python_env"):
        planned(tmp_path, manager="conda")
    with pytest.raises(UsageError, match="'poetry' is no environment manager"):
        planned(tmp_path, manager="poetry")
    (tmp_path / "python_env.yaml").unlink()
    with pytest.raises(ProjectError, match=r"needs a conda\.yaml"):
        planned(tmp_path, manager="conda")


def test_local_needs_no_file_to_be_right(tmp_path: Path) -> None:
    assert planned(tmp_path, Choice("python_env", "gone.yaml"), manager="local").spec.kind == "host"


def test_a_container_copies_variables_by_name(tmp_path: Path) -> None:
    choice = Choice("docker_env", image="img:1", volumes=("/a:/b",), variables=(("A", None), ("B", "2")))
    spec = planned(tmp_path, choice, environ={"A": "s3cret"}).spec
    assert (spec.kind, spec.image, spec.volumes, spec.variables) == ("container", "img:1", ("/a:/b",), ("A", "B=2"))
    with pytest.raises(ProjectError, match="docker_env: environment: A is not set"):
        planned(tmp_path, choice)


def test_no_spec_holds_a_credential(tmp_path: Path) -> None:
    lines = [
        "--index-url https://ada:s3cret@one.invalid/simple",
        "--extra-index-url=https://ada:${TOKEN}@two.invalid/simple",
        "-f https://ada:s3cret@three.invalid/wheels",
        "a @ https://ada:s3cret@four.invalid/a-1-py3-none-any.whl",
        "b @ git+https://ada:s3cret@five.invalid/b.git@main#egg=b",
        "-r more.txt",
    ]
    write(tmp_path, python_env__yaml="dependencies:\n" + "".join(f"  - '{line}'\n" for line in lines))
    write(tmp_path, more__txt="--extra-index-url https://ada:s3cret@six.invalid/simple\n")
    found = planned(tmp_path, environ={"TOKEN": "s3cret"})
    assert "s3cret" not in json.dumps(encode(found.spec))
    assert "ada" not in json.dumps(encode(found.spec))
    assert found.spec.requirements[4] == "b @ git+https://five.invalid/b.git@main#egg=b"
    assert found.installer["UV_DEFAULT_INDEX"] == "https://ada:s3cret@one.invalid/simple"
    assert found.installer["UV_INDEX"] == "https://ada:s3cret@two.invalid/simple https://ada:s3cret@six.invalid/simple"
    assert found.installer["UV_FIND_LINKS"] == "https://ada:s3cret@three.invalid/wheels"
    assert found.installer["MLRUN_NETRC"] == "machine four.invalid login ada password s3cret"
    assert found.installer["GIT_CONFIG_KEY_0"] == "url.https://ada:s3cret@five.invalid/.insteadOf"
    assert found.installer["GIT_CONFIG_VALUE_0"] == "https://five.invalid/"


def test_options_of_pip_mean_to_uv_what_they_mean_to_pip(tmp_path: Path) -> None:
    write(
        tmp_path,
        requirements__txt="--pre\n--trusted-host h.invalid\n--extra-index-url https://h.invalid/simple\nnumpy\n",
    )
    installer = planned(tmp_path).installer
    assert installer["UV_PRERELEASE"] == "allow"
    assert installer["UV_INSECURE_HOST"] == "h.invalid"
    assert installer["UV_INDEX_STRATEGY"] == "unsafe-best-match"


@pytest.mark.parametrize(
    ("line", "algorithm"),
    [
        ("numpy==1 --hash=sha512:abcd", "sha512"),
        ("numpy==1 --hash md5:abcd --hash=sha1:00", "md5"),
        ("https://a/numpy-1.whl#egg=numpy&md5=abcd", "md5"),
        ("numpy @ https://a/numpy-1.whl#sha512=abcd", "sha512"),
    ],
)
def test_a_digest_that_no_lock_holds_to_is_refused(tmp_path: Path, line: str, algorithm: str) -> None:
    write(tmp_path, requirements__txt=f"six\n{line}\n")
    with pytest.raises(ProjectError, match=rf"^requirements.txt, line 2: .* pins its archive by {algorithm}, and"):
        planned(tmp_path)
    for more in (" --hash=sha256:ab", "&sha256=ab") if "#" in line else (" --hash=sha256:ab",):
        write(tmp_path, requirements__txt=f"{line}{more}\n")
        planned(tmp_path)


def test_lists_that_lie_elsewhere_are_left_to_uv(tmp_path: Path) -> None:
    lines = ("-c https://example.org/constraints.txt", "-r https://u:word@example.org/more.txt", "six")
    write(tmp_path, requirements__txt="\n".join(lines))
    found = planned(tmp_path)
    assert [file.path for file in found.spec.files] == ["requirements.txt"]
    write(tmp_path, python_env__yaml=f"dependencies: {json.dumps(lines)}\n")
    assert planned(tmp_path).spec.requirements == (lines[0], "-r https://example.org/more.txt", "six")


def test_a_hash_sign_in_a_url_is_no_comment(tmp_path: Path) -> None:
    write(tmp_path, python_env__yaml="dependencies: ['x @ git+https://h.invalid/x.git#subdirectory=y  # why']\n")
    assert planned(tmp_path).spec.requirements == ("x @ git+https://h.invalid/x.git#subdirectory=y",)


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("python: '3.11'\ndependencies: [numpy, '-r x']\n", True),
        ("python: 3.10\n", True),
        ("build_dependencies:\n", True),
        ("dependencies: numpy\n", False),
        ("dependencies: [{numpy: 1}]\n", False),
        ("python: [3]\n", False),
        ("- a\n", False),
        ("", False),
    ],
)
def test_the_schema_and_the_reader_agree(tmp_path: Path, text: str, is_valid: bool) -> None:
    write(tmp_path, python_env__yaml=text, x="")
    jsonschema.Draft202012Validator.check_schema(_SCHEMA)
    assert jsonschema.Draft202012Validator(_SCHEMA).is_valid(yaml.safe_load(text)) is is_valid
    try:
        planned(tmp_path)
    except MlrunError:
        assert not is_valid
    else:
        assert is_valid
