"""Requirement lines that cannot be any, and all that must be left to uv."""

import pytest

from runner.environments.grammar import problem

FINE = """numpy
numpy==1.26.4
Foo.Bar_baz[one,two] >=1.0, <2
numpy==1.*,!=1.3.*
numpy>=1.0,
numpy==1.0.0-beta
numpy==1!2.0
numpy~=1.4.2
numpy==1.0+cu118
numpy===odd-version
numpy (>=1.0)
torch ; python_version < "3.12" and sys_platform == 'linux'
numpy==1.26.4 --hash=sha256:0123 --hash=sha256:4567
numpy --config-settings="--a=b"
-r more.txt
-c limits.txt
-e .
-e git+https://example.org/a.git#egg=a
--index-url https://example.org/simple
--no-binary :all:
-i https://example.org
.
./local
../elsewhere
local/project[extra]
wheels/a-1.0-py3-none-any.whl
a-1.0.tar.gz
name @ https://example.org/name.zip
name@git+ssh://git@example.org/name.git@v1
git+https://example.org/name.git
https://example.org/name-1.0.tar.gz
file:///somewhere/name.zip
${NAME}==1.0
""".splitlines()

WRONG = """numpy =! 1
numpy=1.21
numpy 1.21
numpy==
numpy==one.two
numpy>=1.0 <2
numpy,pandas
numpy pandas
numpy[extra
numpy; python_version << "3"
"numpy"
import numpy
numpy>=latest
=1.0
#numpy?
{"numpy": 1}
<<<<<<< HEAD
=======
näme
""".splitlines()


@pytest.mark.parametrize("line", FINE)
def test_what_may_be_a_requirement_is_left_to_uv(line: str) -> None:
    assert problem(line) is None


@pytest.mark.parametrize("line", WRONG)
def test_what_is_none_is_said(line: str) -> None:
    what = problem(line)
    assert what
    assert "\n" not in what
