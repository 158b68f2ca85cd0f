from pathlib import Path

import pytest

from runner.project.check import check
from runner.project.load import load
from tests.project.projects import write


def found(directory):
    return [(f.severity, f.line, f.key, f.message) for f in check(directory)]


def one(directory, severity, message):
    """The one finding of a severity, which has to be about something."""
    (finding,) = (f for f in check(directory) if f.severity == severity)
    assert message in finding.message
    return finding


def entry(text):
    return f"entry_points: {{main: {text}}}"


def with_default(declaration):
    return entry(f"{{parameters: {{a: {declaration}}}, command: 'x {{a}}'}}")


def test_nothing_is_said_of_a_good_project(tmp_path):
    write(
        tmp_path,
        """
        name: good
        entry_points:
          main:
            parameters:
              alpha: {type: float, default: 0.5, minimum: 0}
              tiny: {type: float, default: 0.00001}
              n: {type: int, default: 1_000}
              on_off: {type: bool, default: true}
              text: {default: some text}
              quoted: {default: '010'}
              xs: {type: list, default: [1, 2]}
            command: python train.py {alpha} {tiny} {n} {on_off} {text} {quoted} {xs} ${{HOME}} '$(ls)'
        """,
    )
    assert check(tmp_path) == ()


def test_all_errors_are_found_not_only_the_first(tmp_path):
    write(
        tmp_path,
        """
        name: [a]
        entry_points:
          main:
            parameters: {a: 0.5}
            command: x {b} {c}
          other: {}
        """,
    )
    errors = [(line, key) for severity, line, key, _ in found(tmp_path) if severity == "error"]
    assert errors == [
        (1, "name"),
        (4, "entry_points.main.parameters.a"),
        (5, "entry_points.main.command"),
        (5, "entry_points.main.command"),
        (6, "entry_points.other.command"),
    ]
    assert all(finding.mlflow for finding in check(tmp_path) if finding.entry_point)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (with_default("{default: 010}"), "YAML 1.1 reads 010 as 8: the command gets 8", "quote it: '010'"),
        (with_default("{type: int, default: 010}"), "YAML 1.1 reads 010 as 8", "quote it"),
        (with_default("{default: 12:30}"), "YAML 1.1 reads 12:30 as 750", "quote it"),
        (with_default("{default: 1.10}"), "the command gets 1.1", "'1.10'"),
        (with_default("{type: string, default: yes}"), "the command gets True", "'yes'"),
        (with_default("{type: bool, default: yes}"), "the command gets True", "'yes'"),
        (with_default("{default: None}"), "the text None", "leave `default` out"),
        (with_default("{default: null}"), "a null default is none", 'write ""'),
        (with_default("{default: [1, b]}"), "this list as one text, [1, 'b']", "type: list"),
        (with_default("{type:int}"), "a space is missing after the colon", "write type: int"),
        (with_default("{tpye: int}"), "this key is not known", "did you mean 'type'?"),
        (with_default("{type: flaot}"), "the type 'flaot' is not known", "did you mean 'float'?"),
        (with_default("'0.5'"), "the type '0.5' is not known", "write {type: string, default: 0.5}"),
        (with_default("{type: int, default: x}"), "a whole number is expected, not 'x'", ""),
        (with_default("{default: b, enum: [a]}"), "one of a is expected, not 'b'", ""),
        (with_default("{type: path, default: gone}"), "'gone' does not exist in the project", ""),
        (with_default("{type: uri, default: gone}"), "'gone' has no scheme", ""),
        (entry("{parameters: {1: int}, command: 'x'}"), "it is declared, and the command does not use it", "write {1}"),
        (entry("{parameters: {a: int}, command: \"x '{a}'\"}"), "{a} stands in quotes", "leave the quotes away"),
        (entry("{parameters: {a: int}, command: 'x \"b {a}\"'}"), "{a} stands in quotes", "leave the quotes away"),
        (entry("{parameters: {a: int}, command: 'x ${a}'}"), "${a} puts a `$` before the value", "${{a}}"),
        (entry("{parameters: {a: int}, command: 'x {a[0]}'}"), "works on the quoted text", "write {a}"),
        (entry("{command: ls, resources: {cpu: 1}}"), "this key is not known", "did you mean 'cpus'?"),
        (entry("{command: ls, inputs: gone}"), "the input 'gone' does not exist now", ""),
        ("entrypoints: {}", "this key is not known", "did you mean 'entry_points'?"),
        ("conda_env: ../gone.yaml", "lies outside the project", ""),
        (entry("{parameters: {'a=b': int}, command: 'x {a=b}'}"), "-P splits at the first `=`", "rename it"),
    ],
)
def test_surprises_are_warned_of(tmp_path, text, message, hint):
    write(tmp_path / "project", text)
    warnings = [f for f in check(tmp_path / "project") if f.severity == "warning" and message in f.message]
    assert len(warnings) == 1, check(tmp_path / "project")
    assert hint in warnings[0].hint
    assert warnings[0].line or "outside" in message


def test_names_that_yaml_reads_as_other_things_are_told(tmp_path):
    write(tmp_path, entry("{parameters: {on: int}, command: 'x {on}'}"))
    finding = one(tmp_path, "warning", "YAML reads this name as True; here it is the text 'on'")
    assert finding.mlflow == "cannot find it by its name"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entry_points:\n  main:\n    command: |\n      ls\n", "appended to the last line"),
        (entry("{parameters: {my.a: int}, command: 'x {my.a}'}"), "{my.a} are read as they are"),
        (with_default("{type: path, default: MLproject}"), "in the caller's directory first"),
    ],
)
def test_notes_tell_where_mlflow_does_otherwise(tmp_path, text, message):
    assert one(write(tmp_path, text), "note", message).mlflow


def test_apostrophes_in_comments_open_no_quote(tmp_path):
    write(tmp_path, "entry_points:\n  main:\n    parameters: {a: int}\n    command: |-\n      # don't\n      x {a}\n")
    assert check(tmp_path) == ()


def test_lines_of_a_block_are_counted(tmp_path):
    write(tmp_path, "entry_points:\n  main:\n    command: |\n      one\n      two {b}\n")
    assert [f.line for f in check(tmp_path) if f.severity == "error"] == [5]


def test_a_file_that_is_not_read_is_told(tmp_path):
    write(tmp_path, "name: x", "MLproject.yml")
    assert one(tmp_path, "warning", "an MLproject has no extension").hint == "rename it to MLproject"
    write(tmp_path, "name: x")
    write(tmp_path, "name: x", "mlproject")
    assert one(tmp_path, "warning", "it is not read: MLproject is").file == str(tmp_path / "mlproject")


def test_no_file_is_a_note(tmp_path):
    one(tmp_path, "note", "there is no MLproject")


@pytest.mark.parametrize("text", ["", "a: [", "a: 1\na: 2", "[" * 1000])
def test_what_cannot_be_read_is_one_error(tmp_path, text):
    (finding,) = check(write(tmp_path, text))
    assert finding.severity == "error"
    assert finding.message
    assert str(tmp_path) in finding.text
    assert finding.line in (None, 1, 2)


def test_a_project_without_errors_loads(tmp_path):
    write(tmp_path, entry("{parameters: {a: {default: 010}}, command: 'x {a}'}"))
    assert not [f for f in check(tmp_path) if f.severity == "error"]
    assert load(tmp_path).entry_points["main"].parameters["a"].default == "8"


def test_environment_files_are_looked_into(tmp_path):
    write(tmp_path, "python: 3.10\ndependencies:\n  - numpy\n", "python_env.yaml")
    write(tmp_path, "python_env: python_env.yaml\nentry_points: {main: {command: ls}}")
    (finding,) = check(tmp_path)
    assert (finding.severity, finding.code, finding.line) == ("warning", "environment", 1)
    assert finding.file == str(tmp_path / "python_env.yaml")
    write(tmp_path, "dependencies: {a: b}", "python_env.yaml")
    assert one(tmp_path, "error", "").file == str(tmp_path / "python_env.yaml")
    (tmp_path / "MLproject").unlink()
    assert one(tmp_path, "error", "").code == "environment"


def test_variables_of_a_container_are_asked_for_at_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    write(tmp_path, "docker_env: {image: x, environment: [SURELY_NOT_SET]}\nentry_points: {main: {command: ls}}")
    assert [finding.code for finding in check(tmp_path)] == ["not-supported"]


def test_variables_of_channels_are_asked_for_at_the_run(tmp_path):
    write(tmp_path, "conda_env: env.yaml\nentry_points: {main: {command: ls}}")
    (tmp_path / "env.yaml").write_text("channels: ['https://$SURELY_NOT_SET@h.org/c']\ndependencies: [python]\n")
    assert check(tmp_path) == ()


@pytest.mark.parametrize(
    ("command", "said"), [("python a.py --x {x}", 0), ("a && b", 1), ("a > out", 1), ("a $(b)", 1)]
)
def test_a_shell_in_a_container_is_noted(tmp_path, monkeypatch, command, said):
    monkeypatch.setenv("MLRUN_CONTAINER_ENGINE", "/bin/true")
    text = (
        f"docker_env: {{image: x}}\nentry_points: {{main: {{parameters: {{x: {{default: 1}}}}, command: '{command}'}}}}"
    )
    write(tmp_path, text)
    found = [finding for finding in check(tmp_path) if finding.code == "contained-shell"]
    assert len(found) == said
    assert all("outside of the container" in finding.mlflow for finding in found)


def test_what_this_machine_cannot_run_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "MLproject").write_text("docker_env: {image: python}\nentry_points:\n  main: {command: 'true'}\n")
    [finding] = check(tmp_path)
    assert (finding.severity, finding.code) == ("warning", "not-supported")
    assert "--env-manager local" in finding.hint


def test_all_that_is_wrong_in_an_environment_file_is_told(tmp_path):
    (tmp_path / "MLproject").write_text("name: x\npython_env: python_env.yaml\n")
    (tmp_path / "python_env.yaml").write_text("python: [3]\nbuild_dependencies: {a: 1}\ndependencies: idna\n")
    found = [finding for finding in check(tmp_path) if finding.severity == "error"]
    assert [(Path(finding.file).name, finding.line) for finding in found] == [
        ("python_env.yaml", 1),
        ("python_env.yaml", 2),
        ("python_env.yaml", 3),
    ]


@pytest.mark.parametrize("line", ["docker_env: {}", "conda_env:", 'python_env: ""'])
def test_an_environment_that_is_empty_is_a_warning(tmp_path, line):
    write(tmp_path, f"name: x\n{line}\nentry_points: {{main: {{command: ls}}}}")
    assert one(tmp_path, "warning", "it is empty, and as if it were not there").line == 2


@pytest.mark.parametrize("image", ["a b", "-rm"])
def test_the_name_of_an_image_is_looked_at(tmp_path, image):
    write(tmp_path, f"docker_env: {{image: '{image}'}}\nentry_points: {{main: {{command: ls}}}}")
    one(tmp_path, "error", "is no name of an image")
