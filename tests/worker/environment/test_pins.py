"""`--hash` in requirement lines: an archive that they do not admit is never installed."""

from pathlib import Path

import pytest

from runner.errors import EnvironmentBuildError
from runner.worker.environment.locks import pylock
from runner.worker.environment.locks.pins import Pins, hold_to, pins_of
from runner.worker.hashing import sha256_of_file
from runner.worker.spec import EnvironmentSpec, SpecFile
from tests.environments.index import serving
from tests.environments.wheels import make_wheel

from .conftest import Host, module_of

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def rebuilt(host: Host) -> Path:
    """Lay another wheel of the same version there, which uv prefers for its build number."""
    aside = make_wheel(host.root / "aside", "blue", text="REBUILT = True")
    return aside.rename(host.wheels / "blue-1.0-1-py3-none-any.whl")


@pytest.mark.parametrize("which", ["first", "rebuilt"])
def test_the_archive_that_is_pinned_is_installed_and_no_other(host: Host, which: str) -> None:
    both = {"first": host.wheels / "blue-1.0-py3-none-any.whl", "rebuilt": rebuilt(host)}
    environment = host.prepare(f"blue==1.0 --hash=sha256:{sha256_of_file(both[which])}")
    assert ("REBUILT" in module_of(environment, "blue").read_text()) is (which == "rebuilt")
    lock = pylock.read(host.objects.read(environment.lock))
    assert [artifact.file for artifact in lock[0].artifacts] == [both[which].name]


def test_what_the_index_has_in_place_of_it_is_refused_also_where_it_is_known(host: Host) -> None:
    host.prepare("red", "blue==1.0")
    with pytest.raises(EnvironmentBuildError, match=r"^blue 1\.0 is pinned by --hash, and the index has no such"):
        host.prepare("red", f"blue==1.0 --hash=sha256:{A}")


def test_lines_are_read_in_whatever_file_they_stand(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text(
        f"six==1.16.0 \\\n    --hash=sha256:{A} \\\n    --hash sha256:{B.upper()}\n"
        f"other==1  # --hash=sha256:{C}\n# x --hash=sha256:{C}\n"
    )
    (tmp_path / "env.yaml").write_text(f"- yet==1 --hash=sha256:{C}\n")
    files = tuple(SpecFile(name, "0" * 64) for name in ("more.txt", "env.yaml"))
    lines = (f"My_Name>=1 --hash=sha256:{C}", "-r more.txt", f"name --hash=sha512:{A}{A}")
    wanted = EnvironmentSpec("virtualenv", requirements=lines, files=files)
    assert pins_of(wanted, tmp_path) == Pins({"my-name": frozenset({C}), "six": frozenset({A, B})})


@pytest.mark.parametrize(
    "line", ["https://a/b/p-1.tar.gz?x=1#egg=p", "./b/p-1.tar.gz", "file:///b/p-1.tar.gz ; python_version > '3'"]
)
def test_an_archive_without_a_name_is_known_by_its_file(tmp_path: Path, line: str) -> None:
    wanted = EnvironmentSpec("virtualenv", requirements=(f"{line} --hash=sha256:{A}",))
    assert pins_of(wanted, tmp_path) == Pins({"p-1.tar.gz": frozenset({A})})


def test_an_archive_by_its_path_is_held_to_its_hash(host: Host) -> None:
    wheel = host.wheels / "blue-1.0-py3-none-any.whl"
    host.prepare(f"{wheel} --hash=sha256:{sha256_of_file(wheel)}")
    with pytest.raises(EnvironmentBuildError, match=r"^blue 1\.0 is pinned by --hash"):
        host.prepare(f"{wheel} --hash=sha256:{A}")


def test_an_archive_by_its_url_is_held_to_its_hash(host: Host) -> None:
    right = sha256_of_file(host.wheels / "blue-1.0-py3-none-any.whl")
    with serving(host.wheels) as index:
        url = f"{index.url.removesuffix('simple')}files/blue-1.0-py3-none-any.whl"
        for line in (f"{url}#sha256={A}", f"blue @ {url}#sha256={A}", f"{url} --hash=sha256:{A}"):
            with pytest.raises(EnvironmentBuildError, match=r"pinned by --hash|Hash mismatch"):
                host.prepare(line)
        assert host.names(host.prepare(f"{url}#egg=blue&sha256={right}")) == {"blue"}


def test_where_hashes_are_required_nothing_goes_without(host: Host) -> None:
    lines = [f"{name}==1.0 --hash=sha256:{sha256_of_file(host.wheels / f'{name}-1.0-py3-none-any.whl')}"
             for name in ("red", "blue")]  # fmt: skip
    assert host.names(host.prepare("--require-hashes", *lines)) == {"red", "blue"}
    with pytest.raises(EnvironmentBuildError, match=r"^blue 1\.0 is pinned by no --hash, and --require-hashes"):
        host.prepare("--require-hashes", lines[0])


def test_archives_are_taken_out_of_a_lock() -> None:
    def table(file: str, sha256: str) -> str:
        return f'{{ url = "https://a/{file}", size = 1, hashes = {{ sha256 = "{sha256}" }} }}'

    several = f"[\n    {table('s-1-py2-none-any.whl', B)},\n    {table('s-1-py3-none-any.whl', C)},\n]"
    package = f'[[packages]]\nname = "s"\nversion = "1"\nsdist = {table("s-1.tar.gz", A)}\nwheels = '
    for wheels in (several, several.replace("\n    ", "").replace("\n", "")):
        data = f'lock-version = "1.0"\n\n{package}{wheels}\n'.encode()
        for kept in ({A}, {B}, {C}, {A, C}, {B, C}):
            [found] = pylock.read(hold_to(data, Pins({"s": frozenset(kept)})))
            assert {artifact.sha256 for artifact in found.artifacts} == kept
        assert hold_to(data, Pins({"other": frozenset({A})})) == data
