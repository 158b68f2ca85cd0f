"""Records are signed and checked with real SSH keys."""

import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project

LOCAL = ("--env-manager", "local")


def new_key(path: Path, phrase: str = "") -> str:
    """Make a key; return the public half as an allowed-signers file has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


@pytest.fixture
def done(mlrun: Mlrun, project: Project) -> Project:
    mlrun("run", project.path, *LOCAL).ok()
    return project


def test_a_signature_says_who_and_any_ssh_keygen_checks_it(mlrun: Mlrun, done: Project, home: Path, tmp_path: Path):
    signers = tmp_path / "signers"
    signers.write_text(f'ada@example.org namespaces="mlrun-record" {new_key(home / ".ssh/id_ed25519")}\n')
    said = mlrun("sign", "latest", "--json").ok().json["signatures"][0]
    verified = mlrun("verify", "latest", "--allowed-signers", signers).ok()
    assert f"is signed by ada@example.org ({said['fingerprint']})" in verified.err
    argv = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "ada@example.org", "-n", "mlrun-record", "-s"]
    record = (mlrun.directory() / "record.json").read_bytes()
    subprocess.run([*argv, mlrun.directory() / said["file"]], input=record, check=True, capture_output=True)
    mlrun("sign", "latest").ok()
    assert len(list((mlrun.directory() / "signatures").iterdir())) == 1


def test_a_stranger_a_forger_and_nobody_are_told_apart(mlrun: Mlrun, done: Project, tmp_path: Path):
    signers = tmp_path / "signers"
    signers.write_text(f"ada@example.org {new_key(tmp_path / 'ada')}\n")
    new_key(tmp_path / "eve")
    nobody = mlrun("verify", "latest", "--allowed-signers", signers)
    assert (nobody.code, "record.json: is signed by nobody whom signers names" in nobody.out) == (1, True)
    mlrun("sign", "latest", "--key", tmp_path / "eve").ok()
    stranger = mlrun("verify", "latest", "--allowed-signers", signers)
    assert stranger.code == 1
    assert "which signers does not name" in stranger.err
    mlrun("verify", "latest").ok()
    mlrun("sign", "latest", "--key", tmp_path / "ada").ok()
    assert mlrun("verify", "latest", "--allowed-signers", signers).code == 0
    forged = next((mlrun.directory() / "signatures").iterdir())
    mlrun("run", done.path, *LOCAL).ok()
    (mlrun.directory() / "signatures").mkdir()
    (mlrun.directory() / "signatures" / forged.name).write_bytes(forged.read_bytes())
    said = mlrun("verify", "latest")
    assert (said.code, "is no signature of this record" in said.out) == (1, True)
    (mlrun.directory() / "signatures" / forged.name).write_text("nonsense")
    assert "is no signature of SSH" in mlrun("verify", "latest").out


def test_an_expired_key_counts_for_what_ended_before(mlrun: Mlrun, done: Project, tmp_path: Path):
    key = new_key(tmp_path / "ada")
    mlrun("sign", "latest", "--key", tmp_path / "ada").ok()
    for dates, code in (('valid-before="20200101"', 1), ('valid-after="20200101",valid-before="21000101"', 0)):
        (tmp_path / "signers").write_text(f"ada@example.org {dates} {key}\n")
        assert mlrun("verify", "latest", "--allowed-signers", tmp_path / "signers").code == code


def test_every_run_is_signed_where_the_settings_say_so(mlrun: Mlrun, done: Project, home: Path, tmp_path: Path):
    signers = home / "signers"
    signers.write_text(f"ada@example.org {new_key(tmp_path / 'ada')}\n")
    settings = home / ".config/mlrun/config.toml"
    settings.parent.mkdir(parents=True)
    text = f'[sign]\nalways = true\nkey = "{tmp_path}/ada"\n[verify]\nallowed_signers = "~/signers"\n'
    settings.write_text(text)
    mlrun("run", done.path, *LOCAL).ok()
    assert "is signed by ada@example.org" in mlrun("verify", "latest").ok().err
    mlrun("run", done.path, *LOCAL, "--detach").ok()
    mlrun("wait", "latest").ok()
    mlrun("verify", "latest").ok()
    new_key(tmp_path / "locked", "a phrase that nobody is asked for")
    settings.write_text(text.replace("/ada", "/locked"))
    said = mlrun("run", done.path, *LOCAL).ok()
    assert "warning: the record is not signed: " in said.err
    settings.write_text(text.replace("always", "allways"))
    said = mlrun("run", done.path, *LOCAL).ok()
    assert "unknown key 'allways'" in said.err


def test_gits_key_is_taken_and_no_key_is_said(mlrun: Mlrun, done: Project, tmp_path: Path):
    said = mlrun("sign", "latest")
    assert (said.code, "there is no SSH key to sign with" in said.err) == (2, True)
    assert mlrun("sign", "latest", "--key", "nowhere").code == 2
    new_key(tmp_path / "git")
    for name, value in (("gpg.format", "ssh"), ("user.signingkey", str(tmp_path / "git"))):
        subprocess.run(["git", "config", "--global", name, value], check=True)
    mlrun("sign", "latest").ok()


def test_a_run_that_is_not_signed_was_not_changed(mlrun: Mlrun, done: Project, tmp_path: Path):
    (tmp_path / "signers").write_text(f"ada@example.org {new_key(tmp_path / 'ada')}\n")
    said = mlrun("verify", "latest", "latest", "--allowed-signers", tmp_path / "signers")
    assert (said.code, said.out.count("is signed by nobody whom signers names")) == (1, 1)
    assert "1 run is signed by nobody who may: nothing was changed" in said.err
    assert "backup" not in said.err
    assert len(mlrun("sign", "latest", "latest", "--key", tmp_path / "ada", "--json").ok().json["signatures"]) == 1


def test_many_runs_of_which_the_same_is_said_take_few_lines(mlrun: Mlrun, done: Project, tmp_path: Path):
    (tmp_path / "signers").write_text(f"ada@example.org {new_key(tmp_path / 'ada')}\n")
    for _ in range(6):
        mlrun("run", done.path, *LOCAL).ok()
    runs = [run["id"] for run in mlrun("list", "--json").json["runs"]][:6]
    mlrun("sign", *runs, "--key", tmp_path / "ada").ok()
    said = mlrun("verify", *runs, "--allowed-signers", tmp_path / "signers").ok().err.splitlines()
    assert len(said) == 7
    assert said[5].startswith("and 1 more is signed by ada@example.org")
    assert said[6] == "6 runs verified: nothing was changed"


def test_signatures_travel_and_come_later(mlrun: Mlrun, done: Project, tmp_path: Path):
    (tmp_path / "signers").write_text(f"ada@example.org {new_key(tmp_path / 'ada')}\n")
    mlrun("export", "latest", "-o", "before.tar.gz").ok()
    mlrun("sign", "latest", "--key", tmp_path / "ada").ok()
    mlrun("export", "latest", "-o", "after.tar.gz").ok()
    there = {"MLRUN_HOME": str(tmp_path / "there")}
    mlrun("import", "before.tar.gz", **there).ok()
    assert mlrun("verify", "latest", "--allowed-signers", tmp_path / "signers", **there).code == 1
    mlrun("import", "after.tar.gz", **there).ok()
    assert mlrun("verify", "latest", "--allowed-signers", tmp_path / "signers", **there).code == 0
    assert list((tmp_path / "there" / "tmp").iterdir()) == []
