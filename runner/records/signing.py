"""Signatures of records with SSH keys, as `ssh-keygen -Y` makes and checks them: the identity that git already uses.

What is signed is the bytes of record.json, in the namespace `mlrun-record`; each key's signature is a file of its own.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from runner.errors import FormatError, MlrunError, UsageError
from runner.records.seal import read as read_sealed
from runner.worker.files import write_once
from runner.worker.rundir import RunDirectory
from runner.worker.tools import Finished, call
from runner.worker.values import dataclass

NAMESPACE = "mlrun-record"
_MAGIC = b"SSHSIG"
_GIT = ("gpg.format", "user.signingkey")
_KINDS = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")


@dataclass(frozen=True)
class Signature:
    """A signature of a record, and whose it is."""

    file: str  # relative to the run directory
    fingerprint: str = ""
    signer: str | None = None  # as the allowed-signers file names the key; None: it does not
    problem: str = ""  # why it does not hold


def sign(run: RunDirectory, key: Path, *, ask: bool) -> Signature:
    """Sign a run's sealed record. MlrunError where that cannot be; ``ask``: ssh-keygen may ask for a passphrase.

    A key that has signed already leaves its signature as it is.
    """
    read_sealed(run)
    data = run.record.read_bytes()
    done = _ssh_keygen(["sign", "-n", NAMESPACE, "-f", str(key)], data, ask=ask)
    if done.code != 0:
        message = f"{key} cannot sign: {_reason(done)}"
        raise MlrunError(message, hint="`ssh-add` makes a key with a passphrase usable, `--key` names another")
    blob = _public_key(done.stdout)
    target = run.signatures / f"{hashlib.sha256(blob).hexdigest()[:16]}.sig"
    target.parent.mkdir(mode=0o700, exist_ok=True)
    write_once(target, done.stdout)
    return Signature(_name(target), _fingerprint(blob))


def find_key(named: str, directory: Path) -> Path:
    """Return the key to sign with: the one named, else git's, else the first of ~/.ssh; UsageError for none."""
    candidates = [named] if named else [*_gits_key(directory), *(f"~/.ssh/{kind}" for kind in _KINDS)]
    for candidate in candidates:
        path = Path(candidate).expanduser()
        if path.is_file():
            return path
    if named:
        message = f"there is no key {named}"
        raise UsageError(message, hint="name a key of SSH: with --key, or as `key` under [sign] in config.toml")
    message = "there is no SSH key to sign with"
    raise UsageError(message, hint="`ssh-keygen -t ed25519` makes one; --key names another")


def check(run: RunDirectory, allowed: Path | None) -> Iterator[Signature]:
    """Yield the signatures of a run, each checked; with ``allowed``, an allowed-signers file, by whom they are.

    A key counts if it was allowed when the run ended, as git does it with commits.
    """
    data, moment = run.record.read_bytes(), _ended(run)
    for path in sorted(run.signatures.glob("*.sig")):
        yield _checked(path, data, allowed, moment)


def _checked(path: Path, data: bytes, allowed: Path | None, moment: datetime) -> Signature:
    name = _name(path)
    try:
        fingerprint = _fingerprint(_public_key(path.read_bytes()))
    except (FormatError, OSError) as error:
        return Signature(name, problem=f"is no signature of SSH: {error}")
    sound = _ssh_keygen(["check-novalidate", "-n", NAMESPACE, "-s", str(path)], data)
    if sound.code != 0:
        return Signature(name, fingerprint, problem="is no signature of this record")
    if allowed is None:
        return Signature(name, fingerprint)
    when = ["-O", f"verify-time={moment:%Y%m%d%H%M%S}"]
    found = _ssh_keygen(["find-principals", "-s", str(path), "-f", str(allowed), *when], b"")
    for principal in found.stdout.decode("utf-8", "replace").splitlines() if found.code == 0 else ():
        words = ["verify", "-n", NAMESPACE, "-I", principal, "-s", str(path), "-f", str(allowed), *when]
        if _ssh_keygen(words, data).code == 0:
            return Signature(name, fingerprint, principal)
    return Signature(name, fingerprint)


def _ended(run: RunDirectory) -> datetime:
    record = read_sealed(run)
    assert isinstance(record, dict)
    said = record["run"]
    assert isinstance(said, dict)
    return datetime.fromisoformat(str(said["ended"])).astimezone()  # ssh-keygen reads local time


def _gits_key(directory: Path) -> list[str]:
    try:
        format_, key = (call(["git", "config", name], cwd=directory).text.strip() for name in _GIT)
    except OSError:
        return []
    return [key] if format_ == "ssh" and key else []


def _ssh_keygen(words: list[str], data: bytes, *, ask: bool = False) -> Finished:
    quiet: Mapping[str, str] = {"SSH_ASKPASS_REQUIRE": "force", "SSH_ASKPASS": shutil.which("false") or "/bin/false"}
    try:
        return call(["ssh-keygen", "-Y", *words], stdin=data, env={**os.environ, **({} if ask else quiet)})
    except FileNotFoundError:
        message = "ssh-keygen is not on this host, and it is what makes and checks signatures"
        raise MlrunError(message, hint="install OpenSSH's client (8.4 or newer)") from None


def _reason(done: Finished) -> str:
    return (done.complaint.splitlines() or [f"ssh-keygen ended with code {done.code}"])[-1].rstrip(".")


def _public_key(armoured: bytes) -> bytes:
    """Return the public key that a signature carries (PROTOCOL.sshsig)."""
    lines = armoured.decode("ascii", "replace").split("\n")
    try:
        if lines[0] != "-----BEGIN SSH SIGNATURE-----" or "-----END SSH SIGNATURE-----" not in lines:
            raise ValueError  # noqa: TRY301
        blob = base64.b64decode("".join(lines[1 : lines.index("-----END SSH SIGNATURE-----")]), validate=True)
        start = len(_MAGIC) + 8
        size = int.from_bytes(blob[start - 4 : start], "big")
        if not blob.startswith(_MAGIC) or not 0 < size <= len(blob) - start:
            raise ValueError  # noqa: TRY301
    except ValueError:
        message = "it does not have the form of one"
        raise FormatError(message) from None
    return blob[start : start + size]


def _fingerprint(blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
