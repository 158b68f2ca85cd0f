"""MLprojects with every oddity of the format, and what MLflow and mlrun make of them."""

import json
from dataclasses import dataclass, field

REFUSED = ("refused", [])
USAGE = ("usage", [])


@dataclass(frozen=True)
class Case:
    """A project and a call. Without ``differs`` both tools do the same; with it, each does what is said here."""

    name: str
    text: str | None  # of the MLproject; None: there is none
    given: tuple[str, ...] = ()
    entry_point: str = "main"
    file: str = "MLproject"
    project_files: tuple[str, ...] = ()
    caller_files: tuple[str, ...] = ()
    subdirectory: str = ""
    differs: str = ""
    mlflow: tuple[str, list[list[str]]] = field(default=("done", []))
    ours: tuple[str, list[list[str]]] = field(default=("done", []))
    least: int = 1  # stubs that have to be called, so that a case cannot pass by doing nothing


def main(parameters: str, command: str, more: str = "") -> str:
    """An MLproject with one entry point, in flow style."""
    return f"{more}entry_points: {{main: {{parameters: {{{parameters}}}, command: {json.dumps(command)}}}}}\n"


def defaults(*values: str) -> str:
    return ", ".join(f"p{index}: {{default: {value}}}" for index, value in enumerate(values))


BLOCK = """entry_points:
  main:
    parameters:
      a: {{default: 1}}
      b: {{default: two words}}
    command: {style}
{lines}
"""


def block(*lines: str, style: str = "|-") -> str:
    return BLOCK.format(style=style, lines="\n".join(f"      {line}" for line in lines))


SAME = (
    Case("short form", main("a: float", "stub {a}"), ("a=0.5",)),
    Case("long form", main("a: {type: float}", "stub {a}"), ("a=0.5",)),
    Case("no type", main("a: {default: x}", "stub {a}")),
    Case("odd types are text", main("a: weird, b: {type: , default: 1}, c: ''", "stub {a} {b} {c}"), ("a=1", "c=2")),
    Case("missing value", main("a: float, b: {default: null}", "stub {a} {b}"), least=0),
    Case("default None is text", main(defaults("None", "''", "0", "false"), "stub {p0} {p1} {p2} {p3}")),
    Case(
        "defaults after YAML 1.1",
        main(
            defaults("true", "yes", "off", "010", "0x1f", "12:30", "1_000", "0.00001", "1e-3", "1.0e+3", ".inf", ".5"),
            "stub " + " ".join(f"{{p{index}}}" for index in range(12)),
        ),
    ),
    Case(
        "defaults that are no single values",
        main(
            defaults("[1, b]", "{a: 1, on: 2}", "2020-01-02", "2020-01-02 03:04:05", "'1.10'"),
            "stub {p0} {p1} {p2} {p3} {p4}",
        ),
    ),
    Case("shell characters in values", main("a: string", "stub {a}"), ("a=$(ls) `x` \"'\\ ;|&*?~#!\n\t{b}",)),
    Case("umlauts", main("a: string, ü: {default: ß}", "stub {a} {ü}"), ("a=ä€😀",)),
    Case("empty value", main("a: string", "stub {a} end"), ("a=",)),
    Case("value with equals signs", main("a: string", "stub {a}"), ("a=b=c==",)),
    Case("extras in the user's order", main("b: string", "stub {b}"), ("z=1", "b=2", "a=3", "B=4")),
    Case("extras are quoted", main("", "stub"), ("x=$HOME", "y=", "a-b=c d")),
    Case("a default is overridden", main("a: {type: int, default: 1}", "stub {a}"), ("a=2",)),
    Case("names with dashes", main("learning-rate: float", "stub {learning-rate}"), ("learning-rate=1",)),
    Case("literal braces", main("a: string", "stub '{{x}}' {a} ${{HOME}}x"), ("a=1",)),
    Case("quoted twice", main("a: string", "stub '{a}' \"{a}\""), ("a=simple",)),
    Case("quoted twice and not simple", main("a: string", "stub '{a}'"), ("a=two words",)),
    Case("str.format layout", main("a: string", "stub {a:>5} {a!s} {a!r} {a[0]}"), ("a=abc",)),
    Case("used twice and not at all", main("a: string, b: {default: 1}", "stub {a} {a}"), ("a=1",)),
    Case("options in an echo", main("a: string", "stub $(echo {a})"), ("a=--x 1 --y 2",)),
    Case("variable before the command", main("a: string", "VAR={a} stub x"), ("a=b c",)),
    Case("cd in the command", main("a: string", "cd sub && stub {a}"), ("a=1",), project_files=("sub/x",)),
    Case("pipe", main("a: string", "stub {a} | stub $(cat)"), ("a=1",)),
    Case("no pipefail", main("", "false | stub a"), least=1),
    Case("no -e", main("", "false; stub a")),
    Case("a failing command", main("", "stub a; exit 3")),
    Case("several statements", block("stub {a}", "stub {b}", "if true; then", "  stub c; fi")),
    Case("continued lines", block("stub {a} \\", "  --b {b} \\", "  c")),
    Case("continued lines and extras", block("stub {a} \\", "  --b {b} \\", style="|"), ("x=1",)),
    Case("continued last line", block("stub {a} \\", style="|")),
    Case("folded block", block("stub", "{a}", "--b {b}", style=">-"), ("x=1",)),
    Case("folded block with its newline", block("stub", "{a}", style=">")),
    Case("block without extras", block("stub {a}", style="|")),
    Case("no parameters", "entry_points: {main: {command: stub}}"),
    Case("extras without parameters", "entry_points: {main: {command: stub}}", ("x=1",)),
    Case("other entry point", "entry_points: {main: {command: stub 1}, b: {command: stub 2}}", entry_point="b"),
    Case("unknown entry point", "entry_points: {main: {command: stub 1}}", entry_point="gone", least=0),
    Case("lower case file", "entry_points: {main: {command: stub}}", file="mlproject"),
    Case("upper case file", "entry_points: {main: {command: stub}}", file="MLPROJECT"),
    Case("file with extension", "entry_points: {main: {command: stub}}", file="MLproject.yaml", least=0),
    Case("no file, no entry point", None, least=0),
    Case("undeclared python script", None, ("a=b c",), "x.py", project_files=("x.py",)),
    Case("undeclared script in a directory", "name: x", ("a=1",), "sub/x.py", project_files=("sub/x.py",)),
    Case("undeclared script with a space", None, (), "my x.py", project_files=("my x.py",)),
    Case("undeclared shell script", None, ("a=b c",), "x.sh", project_files=("x.sh",)),
    Case("undeclared R script", None, ("a=b c",), "x.R", project_files=("x.R",)),
    Case("other extension", None, (), "x.jl", project_files=("x.jl",), least=0),
    Case("unknown keys", main("a: {default: 1, unknown: x}", "stub {a}", "unknown: {a: [1]}\nname: 5\n")),
    Case("null environment keys", main("", "stub", "conda_env:\n")),
    Case("python_env", main("", "stub", "python_env: env.yaml\n"), project_files=("env.yaml",)),
    Case("conda_env", main("", "stub", "conda_env: env.yaml\n"), project_files=("env.yaml",)),
    Case("environment file is not there", main("", "stub", "python_env: env.yaml\n"), least=0),
    Case(
        "two environments",
        main("", "stub", "python_env: e.yaml\nconda_env: e.yaml\n"),
        project_files=("e.yaml",),
        least=0,
    ),
    Case("docker without an image", main("", "stub", "docker_env: {volumes: [a]}\n"), least=0),
    Case("no command", "entry_points: {main: {parameters: {}}}", least=0),
    Case("entry points are a list", "entry_points: [main]", least=0),
    Case("parameters are a list", "entry_points: {main: {parameters: [a], command: stub}}", least=0),
    Case("entry point is text", "entry_points: {main: stub}", least=0),
    Case("a parameter is a number", main("a: 0.5", "stub {a}"), least=0),
    Case("a parameter is nothing", main("a: ", "stub {a}"), least=0),
    Case("the file is a list", "[a, b]", least=0),
    Case("broken YAML", "a: [", least=0),
    Case("two documents", "name: a\n---\nname: b\n", least=0),
    Case("tags that name code", main("a: !!python/name:os.system {default: 1}", "stub"), least=0),
    Case(
        "anchors and merges", "x: &x {default: 1, type: int}\n" + main("a: *x, b: {<<: *x, default: 2}", "stub {a} {b}")
    ),
    Case("byte order mark", "\ufeff" + main("", "stub")),
    Case("CRLF", main("a: {default: 1}", "stub {a}").replace("\n", "\r\n") + "\r\n"),
    Case("path of the caller", main("a: path", "stub {a}"), ("a=d/../x y",), caller_files=("x y", "d/z")),
    Case("path is a directory", main("a: path", "stub {a}"), ("a=d/",), caller_files=("d/z",)),
    Case("path with a percent sign", main("a: path", "stub {a}"), ("a=x%20y",), caller_files=("x y",)),
    Case("path is not there", main("a: path", "stub {a}"), ("a=gone",), least=0),
    Case("path default of the caller", main("a: {type: path, default: x}", "stub {a}"), caller_files=("x",)),
    Case("uri", main("a: uri", "stub {a}"), ("a=s3://b/c d",)),
    Case("uri without a scheme", main("a: uri", "stub {a}"), ("a=b/c",), least=0),
    Case("uri default", main("a: {type: uri, default: 'x:1'}", "stub {a}")),
    Case("given twice", main("a: string", "stub {a}"), ("a=1", "a=2"), least=0),
    Case("given without a value", main("a: string", "stub {a}"), ("a",), least=0),
    Case("subdirectory", main("", "stub"), subdirectory="sub/dir"),
)

DIFFERENT = (
    Case(
        "newline of a block, and extras",
        block("stub {a}", style="|"),
        ("x=1",),
        differs="MLflow runs the extras as a line of their own",
        mlflow=("failed", [["stub", "1"]]),
        ours=("done", [["stub", "1", "--x", "1"]]),
    ),
    Case(
        "undeclared placeholder",
        main("a: string", "stub {a} {b}"),
        ("a=1", "b=2"),
        differs="both refuse, but MLflow leaves a run behind (see the test of its own)",
        mlflow=REFUSED,
        ours=REFUSED,
    ),
    Case(
        "dotted names",
        main("my.a: float", "stub {my.a}"),
        ("my.a=1",),
        differs="MLflow looks for an attribute",
        mlflow=REFUSED,
        ours=("done", [["stub", "1"]]),
    ),
    Case(
        "boolean name",
        main("on: int", "stub {on}"),
        ("on=1",),
        differs="MLflow knows it as True",
        mlflow=REFUSED,
        ours=("done", [["stub", "1"]]),
    ),
    Case(
        "numeric name",
        main("1: {default: 5}", "stub {1}"),
        differs="MLflow takes it for a position",
        mlflow=REFUSED,
        ours=("done", [["stub", "5"]]),
    ),
    Case(
        "path default of the project",
        main("a: {type: path, default: x}", "stub {a}"),
        project_files=("x",),
        differs="MLflow looks in the caller's directory only",
        mlflow=REFUSED,
        ours=("done", [["stub", "PROJECT/x"]]),
    ),
    Case(
        "a file whose name has a percent sign",
        main("a: path", "stub {a}"),
        ("a=x%20y",),
        caller_files=("x%20y",),
        differs="MLflow decodes the name and does not find it",
        mlflow=REFUSED,
        ours=("done", [["stub", "CALLER/x%20y"]]),
    ),
    Case(
        "a file whose name has a colon",
        main("a: path", "stub {a}"),
        ("a=x:y",),
        caller_files=("x:y",),
        differs="MLflow takes it for a URL, and copies the file",
        mlflow=("done", [["stub", "STORAGE/param_0/x:y"]]),
        ours=("done", [["stub", "CALLER/x:y"]]),
    ),
    Case(
        "empty sections",
        "entry_points: {main: {parameters: , command: stub}}",
        differs="MLflow stops with a traceback",
        mlflow=REFUSED,
        ours=("done", [["stub"]]),
    ),
    Case(
        "empty file",
        "",
        (),
        "x.py",
        project_files=("x.py",),
        differs="both refuse; MLflow with a traceback",
        mlflow=REFUSED,
        ours=REFUSED,
    ),
    Case(
        "duplicate keys",
        "entry_points: {main: {command: stub 1, command: stub 2}}",
        differs="MLflow takes the last one",
        mlflow=("done", [["stub", "2"]]),
        ours=REFUSED,
    ),
    Case(
        "values are checked",
        main("a: int", "stub {a}"),
        ("a=x",),
        differs="MLflow checks no type",
        mlflow=("done", [["stub", "x"]]),
        ours=REFUSED,
    ),
    Case(
        "keywords of JSON Schema",
        main("a: {type: float, maximum: 1}", "stub {a}"),
        ("a=2",),
        differs="MLflow ignores the keys",
        mlflow=("done", [["stub", "2"]]),
        ours=REFUSED,
    ),
    Case(
        "flags",
        main("v: {type: bool, flag: --verbose, default: true}, q: {type: bool, flag: -q, default: no}", "stub {v} {q}"),
        differs="MLflow ignores the key",
        mlflow=("done", [["stub", "True", "False"]]),
        ours=("done", [["stub", "--verbose"]]),
    ),
    Case(
        "lists",
        main("xs: {type: list, default: [1, b c]}", "stub {xs}"),
        differs="MLflow has no lists",
        mlflow=("done", [["stub", "[1, 'b c']"]]),
        ours=("done", [["stub", "1", "b c"]]),
    ),
    Case(
        "script that is not there",
        None,
        (),
        "gone.sh",
        differs="MLflow starts the interpreter without looking",
        mlflow=("done", [["shell", "gone.sh"]]),
        ours=REFUSED,
    ),
    Case(
        "empty command",
        "entry_points: {main: {command: ''}}",
        differs="MLflow runs nothing, with success",
        mlflow=("done", []),
        ours=REFUSED,
    ),
    Case(
        "script with braces in its name",
        None,
        (),
        "a{b}.py",
        project_files=("a{b}.py",),
        differs="MLflow takes them for a placeholder",
        mlflow=REFUSED,
        ours=("done", [["python", "a{b}.py"]]),
    ),
    Case(
        "attributes of text",
        main("a: string", "stub {a.__class__}"),
        ("a=1",),
        differs="MLflow writes what Python prints: a redirection from a file that is not there",
        mlflow=("failed", []),
        ours=REFUSED,
    ),
    Case(
        "given without a name",
        main("", "stub"),
        ("=1",),
        differs="MLflow's tracking refuses the name",
        mlflow=REFUSED,
        ours=USAGE,
    ),
    Case(
        "extras whose names are quoted",
        main("", "stub"),
        ("a b=c d",),
        differs="MLflow's tracking refuses the name",
        mlflow=REFUSED,
        ours=("done", [["stub", "--a b", "c d"]]),
    ),
    Case(
        "several null environment keys",
        main("", "stub", "conda_env:\ndocker_env:\n"),
        differs="MLflow counts them",
        mlflow=REFUSED,
        ours=("done", [["stub"]]),
    ),
    Case(
        "strict shell",
        "entry_points: {main: {shell: strict, command: 'stub 1; false | cat; stub 2'}}",
        differs="MLflow ignores the key",
        mlflow=("done", [["stub", "1"], ["stub", "2"]]),
        ours=("failed", [["stub", "1"]]),
    ),
)

CASES = (*SAME, *DIFFERENT)
