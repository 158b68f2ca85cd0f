import os
import subprocess
import sys

import pytest

from runner.environments.choice import Choice
from runner.errors import ProjectError
from runner.project.load import find_entry_point, load
from runner.worker.command import render
from runner.worker.hashing import sha256_of_file
from runner.worker.spec import Resources
from tests.project.projects import write


def refusal(directory, entry_point=None):
    with pytest.raises(ProjectError) as caught:
        find_entry_point(load(directory), entry_point or "main")
    assert "\n" not in caught.value.message
    return f"{caught.value.message} | {caught.value.hint}".replace(f"{directory}/", "")


def test_a_project_is_what_its_file_says(tmp_path):
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "python_env.yaml").touch()
    project = load(
        write(
            tmp_path,
            """
            name: demo
            python_env: env/python_env.yaml
            unknown: {kept: [1, 2]}
            entry_points:
              main:
                unknown: 1
                parameters:
                  alpha: float
                  l1: {type: float, default: 0.00001}
                command: "python train.py {alpha} {l1}"
              other:
                parameters:
                command: ls
            """,
        )
    )
    assert (project.name, project.directory) == ("demo", tmp_path)
    assert project.file == tmp_path / "MLproject"
    assert project.sha256 == sha256_of_file(project.file)
    assert project.environment == Choice("python_env", "env/python_env.yaml")
    main = find_entry_point(project, "main")
    assert main.command == "python train.py {alpha} {l1}"
    assert [(p.name, p.type, p.default, p.required) for p in main.parameters.values()] == [
        ("alpha", "float", None, True),
        ("l1", "float", "1e-05", False),
    ]
    assert list(project.entry_points) == ["main", "other"]


@pytest.mark.parametrize("name", ["MLproject", "mlproject", "MLPROJECT", "mlProject"])
def test_the_file_is_found_in_any_case(tmp_path, name):
    assert load(write(tmp_path, "name: demo", name)).name == "demo"


def test_of_several_files_the_usual_spelling_is_read(tmp_path):
    for name in ("MLPROJECT", "mlproject", "MLproject"):
        write(tmp_path, f"name: {name}", name)
    assert load(tmp_path).name == "MLproject"


def test_a_file_with_an_extension_is_not_read(tmp_path):
    write(tmp_path, "entry_points: {main: {command: ls}}", "MLproject.yaml")
    assert load(tmp_path).file is None
    assert "rename MLproject.yaml to MLproject" in refusal(tmp_path)


def test_no_file_at_all_is_a_project_without_entry_points(tmp_path):
    project = load(tmp_path)
    assert (project.name, project.file, project.entry_points) == (tmp_path.name, None, {})
    assert load(tmp_path, name="given").name == "given"


@pytest.mark.parametrize("text", ["name: x", "entry_points:", "name:\nentry_points: {}\nconda_env:\ndocker_env: {}"])
def test_empty_parts_are_as_if_absent(tmp_path, text):
    project = load(write(tmp_path, text))
    assert (project.entry_points, project.environment) == ({}, Choice())


def test_empty_parameters_are_none(tmp_path):
    project = load(write(tmp_path, "entry_points: {main: {parameters: , command: ls}}"))
    assert project.entry_points["main"].parameters == {}


@pytest.mark.parametrize(
    ("yaml", "text"),
    [
        ("true", "True"),
        ("010", "8"),
        ("12:30", "750"),
        ("0.00001", "1e-05"),
        ("1e-3", "1e-3"),
        ("[1, b]", "[1, 'b']"),
        ("None", "None"),
        ("''", ""),
        ("0", "0"),
        ("false", "False"),
        ("2020-01-02", "2020-01-02"),
        ("{2: a, on: b}", "{2: 'a', True: 'b'}"),
        ("null", None),
        ("~", None),
    ],
)
def test_a_default_becomes_text_as_in_mlflow(tmp_path, yaml, text):
    project = load(write(tmp_path, f"entry_points: {{main: {{parameters: {{a: {{default: {yaml}}}}}, command: ls}}}}"))
    assert project.entry_points["main"].parameters["a"].default == text


def test_names_are_text_as_written(tmp_path):
    project = load(write(tmp_path, "entry_points: {on: {parameters: {1: float, 010: int, no: int}, command: ls}}"))
    assert list(project.entry_points) == ["on"]
    assert list(project.entry_points["on"].parameters) == ["1", "010", "no"]


def test_a_container_is_read(tmp_path):
    project = load(
        write(tmp_path, "docker_env: {image: 'py:3', volumes: ['/a:/a'], environment: [HOME, [N, 1], [T, true]]}")
    )
    assert project.environment == Choice(
        "docker_env", "", "py:3", ("/a:/a",), (("HOME", None), ("N", "1"), ("T", "True"))
    )


def test_what_holds_everywhere_is_merged(tmp_path):
    project = load(
        write(
            tmp_path,
            """
            inputs: data
            outputs: [models]
            environ: {OMP_NUM_THREADS: 1, VERSION: 3.10, DEBUG: true}
            secrets: TOKEN
            resources: {cpus: 2, memory: 4GiB}
            shell: strict
            entry_points:
              main:
                command: ls
                inputs: [more/*.csv, data]
                environ: {OMP_NUM_THREADS: 2}
                resources: {time: 1h 30m, gpus: 0}
              plain: {command: ls, shell: plain}
            """,
        )
    )
    main = project.entry_points["main"]
    assert main.inputs == ("data", "more/*.csv")
    assert main.outputs == ("models",)
    assert main.environ == {"OMP_NUM_THREADS": "2", "VERSION": "3.10", "DEBUG": "true"}
    assert main.secrets == ("TOKEN",)
    assert main.resources == Resources(cpus=2, memory=4 << 30, gpus=0, time=5400.0)
    assert main.strict_shell
    assert not project.entry_points["plain"].strict_shell
    (tmp_path / "x.py").touch()
    script = find_entry_point(project, "x.py")
    assert (script.inputs, script.secrets, script.strict_shell) == (("data",), ("TOKEN",), True)


def test_an_entry_point_may_have_an_environment_of_its_own(tmp_path):
    write(
        tmp_path, "entry_points: {a: {command: ls, conda_env: c.yml}, b: {command: ls}, c: {command: ls, conda_env: d}}"
    )
    (tmp_path / "c.yml").touch()
    project = load(tmp_path)
    assert find_entry_point(project, "a").environment == Choice("conda_env", "c.yml")
    assert find_entry_point(project, "b").environment is None
    assert "entry_points.c.conda_env: there is no file 'd' in the project" in refusal(tmp_path, "c")


WRONG = [
    ("[a, b]", "MLproject:1: a mapping with `name` and `entry_points` is expected, not a list"),
    ("text", "MLproject:1: a mapping"),
    ("name: [a]", "MLproject:1: name: a text is expected, not a list"),
    ("name: x\nentry_points: [main]", "MLproject:2: entry_points: a mapping from names to commands is expected"),
    ("entry_points:\n  main:", "MLproject:2: entry_points.main: a mapping with a `command` is expected, not nothing"),
    ("entry_points:\n  main: ls -l", "MLproject:2: entry_points.main: a mapping with a `command` is expected"),
    ("entry_points:\n  main: {}", "MLproject:2: entry_points.main.command: there is no command"),
    ("entry_points:\n  main: {command: }", "there is no command"),
    ("entry_points:\n  main: {command: ' '}", "there is no command"),
    ("entry_points:\n  main: {command: [a, b]}", "command: a shell command as text is expected, not a list"),
    ("entry_points:\n  main: {command: {a}}", "command: a shell command as text is expected, not a mapping"),
    ("entry_points:\n  main:\n    command: true", "MLproject:3: entry_points.main.command: a shell command as text"),
    (
        "entry_points:\n  main:\n    parameters: [a]\n    command: ls",
        "MLproject:3: entry_points.main.parameters: a map",
    ),
    ("entry_points: {main: {parameters: {a: 0.5}, command: ls}}", "parameters.a: a type, or a mapping"),
    ("entry_points: {main: {parameters: {a: }, command: ls}}", "parameters.a: a type, or a mapping"),
    ("entry_points: {main: {parameters: {a: {type: [b]}}, command: ls}}", "a.type: the name of a type is expected"),
    ("entry_points: {main: {parameters: {'': int}, command: ls}}", "a parameter needs a name"),
    ("entry_points: {main: {parameters: {a: {type: int, flag: -v}}, command: ls}}", "a flag belongs to the type bool"),
    ("entry_points: {main: {parameters: {a: {type: bool, flag: -v, default: x}}, command: ls}}", "true or false, not"),
    ("entry_points: {main: {parameters: {a: {minimum: b}}, command: ls}}", "a.minimum: a number is expected, not the"),
    ("entry_points: {main: {parameters: {a: {minimum: true}}, command: ls}}", "a.minimum: a number is expected"),
    ("entry_points: {main: {parameters: {a: {enum: b}}, command: ls}}", "a.enum: a list of the allowed values is"),
    ("entry_points: {main: {parameters: {a: {pattern: '['}}, command: ls}}", "a.pattern: '[' is no regular expression"),
    ("entry_points: {main: {parameters: {a: {type: list, default: [[1]]}}, command: ls}}", "a list of single values"),
    (
        "entry_points:\n  main:\n    command: |\n      a\n      b {x}",
        "MLproject:5: entry_points.main.command: the comm",
    ),
    ("entry_points:\n  main: {command: 'echo ${HOME}'}", "for the shell's own variable double the braces: ${{HOME}}"),
    ("python_env: a.yaml\nconda_env: b.yaml", "MLproject:2: conda_env: at most one environment is expected, not pyth"),
    ("python_env: a.yaml", "MLproject:1: python_env: there is no file 'a.yaml' in the project"),
    ("python_env: {python: 3}", "python_env: the path of a file is expected, not a mapping"),
    ("docker_env: {volumes: []}", "docker_env.image: the name of an image is expected"),
    ("docker_env: {image: }", "docker_env.image: the name of an image is expected"),
    ("docker_env: py", "docker_env: a mapping with an `image` is expected, not the text 'py'"),
    ("docker_env: {image: a, volumes: b}", "docker_env.volumes: a list"),
    (
        "docker_env: {image: a, environment: [A=1]}",
        "docker_env.environment: the name of a variable is expected, not 'A=1'",
    ),
    ("docker_env: {image: a, environment: [[A]]}", "docker_env.environment: VAR, to copy it from the caller, or"),
    ("databricks_spark_job: {python_file: x.py}", "databricks_spark_job: a Databricks Spark job runs on Databricks"),
    ("outputs: /tmp/x", "outputs: an output lies in the project, and '/tmp/x' does not"),
    ("outputs: [a, b/../../c]", "outputs[1]: an output lies in the project"),
    ("inputs: {a: b}", "inputs: a path, or a list of paths, is expected, not a mapping"),
    ("inputs: [1]", "inputs[0]: a path, or a list of paths, is expected, not the number '1'"),
    ("environ: {A-B: 1}", "environ.A-B: 'A-B' cannot be the name of a variable"),
    ("environ: {A: }", "environ.A: a value is expected, not nothing"),
    ("secrets: [A B]", "secrets[0]: 'A B' cannot be the name of a variable"),
    ("environ: {A: 1}\nentry_points: {main: {command: ls, secrets: A}}", "A is declared under `environ` and under"),
    ("resources: {cpus: 0}", "resources.cpus: a whole number, 1 or more, is expected, not the number '0'"),
    ("resources: {cpus: true}", "resources.cpus: a whole number"),
    ("resources: {memory: lots}", "resources.memory: an amount of memory is expected, not the text 'lots'"),
    ("resources: {time: .inf}", "resources.time: an amount of time is expected"),
    ("shell: zsh", "shell: `strict` or `plain` is expected, not 'zsh'"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_what_is_wrong_is_told_with_file_line_and_key(tmp_path, text, message):
    assert message in refusal(write(tmp_path, text))


def test_a_fault_of_another_entry_point_stops_nothing(tmp_path):
    write(tmp_path, "entry_points: {main: {command: ls}, bad: {command: 'echo {x}'}, none: {}}")
    assert find_entry_point(load(tmp_path), "main").command == "ls"
    assert "{x}, which is not a declared parameter" in refusal(tmp_path, "bad")


def test_an_unknown_entry_point_names_the_known_ones(tmp_path):
    write(tmp_path, "entry_points: {train: {command: ls}, evaluate: {command: ls}}")
    assert refusal(tmp_path, "trian") == (
        "there is no entry point 'trian' in MLproject; it has train, evaluate | did you mean 'train'?"
    )
    (tmp_path / "go.sh").touch()
    assert "-e go.sh" in refusal(tmp_path, "xyz")
    assert "no entry point and no file 'gone.py'" in refusal(tmp_path, "gone.py")


def test_what_was_meant_is_told(tmp_path):
    write(tmp_path, "entry_points: {train: {command: ls}, fit: {commmand: ls}}")
    assert refusal(tmp_path, "xyz").endswith(" | name one that is there: -e train")
    assert refusal(tmp_path, "fit").endswith(" | write `command` for 'commmand'")
    write(tmp_path, 'entry_points: {"": {command: ls}}')
    assert "MLproject:1: entry_points: an entry point has no name" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["x.py", "a {b}.py", "it's.sh", "-n.sh", "sub/x.sh", "o'x.R"])
def test_undeclared_scripts_get_mlflows_command(tmp_path, monkeypatch, name):
    monkeypatch.setenv("SHELL", "/bin/my shell")
    (tmp_path / "sub").mkdir()
    (tmp_path / name).touch()
    entry = find_entry_point(load(tmp_path), name)
    assert not entry.declared
    words = (
        subprocess.run(
            ["bash", "-c", f"set -- {render(entry.command, (), {})}; printf '%s\\0' \"$@\""],
            capture_output=True,
            check=True,
        )
        .stdout.decode()
        .split("\0")[:-1]
    )
    expected = {
        "py": ["python", name],
        "sh": ["/bin/my shell", name],
        "R": ["Rscript", "-e", "mlflow::mlflow_source('o\\'x.R')", "--args"],
    }
    assert words == expected[name.rpartition(".")[2]]


@pytest.mark.parametrize("name", ["../x.py", "/bin/x.sh", "sub/../../x.py"])
def test_a_script_outside_the_project_is_refused(tmp_path, name):
    (tmp_path / "project").mkdir()
    (tmp_path / "x.py").touch()
    assert "does not lie in" in refusal(tmp_path / "project", name)


def test_a_declared_entry_point_goes_before_a_script(tmp_path):
    write(tmp_path, "entry_points: {x.py: {command: ls}}")
    (tmp_path / "x.py").touch()
    assert find_entry_point(load(tmp_path), "x.py").command == "ls"


def test_what_is_no_directory_is_told(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "MLproject").mkdir()
    for directory, message in [("gone", "no directory"), ("file", "is a file"), ("odd", "is a directory")]:
        with pytest.raises(ProjectError, match=message):
            load(tmp_path / directory)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "MLproject").symlink_to("nowhere")
    with pytest.raises(ProjectError, match="cannot be read"):
        load(tmp_path / "link")


def test_any_directory_name_will_do(tmp_path):
    odd = tmp_path / os.fsdecode(b"a b'\n\xff{x}")
    write(odd, "entry_points: {main: }")
    message = refusal(odd)
    assert "\\n" in message


def test_a_plain_load_imports_little(tmp_path):
    write(tmp_path, "name: x\nentry_points: {main: {parameters: {a: {type: int, default: 1}}, command: 'ls {a}'}}")
    code = (
        "import sys; from pathlib import Path; from runner.project.load import load, find_entry_point\n"
        "find_entry_point(load(Path(sys.argv[1])), 'main')\n"
        "print(*sorted({'jsonschema', 'fsspec', 'difflib', 'git', 'rich', 'subprocess', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, check=True, text=True)
    assert done.stdout == "\n"
