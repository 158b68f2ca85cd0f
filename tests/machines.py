"""A lab machine: a real sshd in a network namespace of its own, with its own address, host name, processes and files.

The near side's directories are hidden from it, it has been booted at a moment of its own, and its link can be cut,
slowed down and mended. Without root it is an sshd on the loopback, which is good for all but that.
"""

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.needs import need

SHELLS = {
    "lab": "/bin/bash",
    "lab-banner": "/bin/bash",
    "lab-csh": "/bin/tcsh",
    "lab-fish": "/usr/bin/fish",
    "lab-sh": "/bin/sh",
}
NAMES = (*SHELLS, "lab-changed", "lab-unknown", "lab-locked", "lab-nopython", "lab-slow")
_UID = 4242
_HIDDEN = ("/root", "/tmp", "/var/tmp")
_BANNER = "echo 'Welcome to the lab!'; printf 'no newline at the end'; echo grumble >&2\n"

_INSIDE = r"""
set -e
mount --make-rprivate /
hostname lab-machine
mount --bind "$STATE/etc" /etc  # the whole: a file that the near side replaces (useradd does) would be unmounted here
mount --bind "$STATE/boot_id" /proc/sys/kernel/random/boot_id
mount --bind "$STATE/home" /home
mount -t tmpfs -o mode=755 tmpfs /mnt
cp "$STATE"/sshd/* /mnt/
mkdir -m 1777 /mnt/small /mnt/nothing
mount -t tmpfs -o size=6m,mode=1777 tmpfs /mnt/small
ln -s /bin/sh /mnt/nothing/sh
mkdir -p /run/sshd
for directory in $HIDDEN; do
  mount -t tmpfs -o mode=1777 tmpfs "$directory"
done
cd /
exec /usr/sbin/sshd -D -e -f /mnt/sshd_config
"""


def _run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def _key(path):
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))
    return path.with_suffix(".pub").read_text().strip()


class Machine:
    """The lab machine, and ssh's configuration that leads to it under the names of ``SHELLS``, and more."""

    def __init__(self, state, *, isolated=True):
        self.state = state
        able = os.geteuid() == 0 and shutil.which("ip") is not None and shutil.which("unshare") is not None
        self.isolated = isolated and able
        self.sockets = Path(tempfile.mkdtemp(prefix="mlrun-t-", dir="/tmp"))
        mark = secrets.token_hex(4)  # what an earlier session left behind is in nobody's way
        self._names = (f"ml{mark}", f"mla{mark}", f"mlb{mark}")
        self._process = None
        self._write()
        if self.isolated:
            self._make_network()
        self.boot()

    @property
    def config(self):
        return self.state / "config"

    @property
    def home(self):
        """The home directory of the user `lab` there."""
        return self.state / "home" / "lab" if self.isolated else self.state / "home"

    def environ(self):
        """The variables that lead `mlrun` to the machine."""
        return {"MLRUN_SSH": f"ssh -F {self.config}", "XDG_RUNTIME_DIR": str(self.sockets)}

    def mount(self, name, *options):
        """Mount a disk of its own there, which lives as long as the machine, and return its place."""
        place = f"/mnt/{name}"
        script = 'mkdir "$1" && mount -t tmpfs -o "$2" tmpfs "$1"'
        _run(*self.enter, "sh", "-c", script, "sh", place, ",".join(("mode=1777", *options)))
        return place

    def boot(self):
        (self.state / "boot_id").write_text(f"{uuid.uuid4()}\n")
        if self.isolated:
            hidden = [*_HIDDEN, *self._own_tops()]
            argv = ["ip", "netns", "exec", self._names[0], "unshare", "--mount", "--uts", "--pid", "--fork"]
            argv += ["--kill-child", "--mount-proc", "sh", "-c", _INSIDE]
            environ = {"PATH": os.environ["PATH"], "STATE": str(self.state), "HIDDEN": " ".join(hidden)}
        else:
            sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
            argv, environ = [sshd, "-D", "-e", "-f", self.state / "sshd" / "sshd_config"], None
        with (self.state / "log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, env=environ, start_new_session=True, stdin=subprocess.DEVNULL, stderr=log
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self._process.poll() is None, f"sshd has ended: {self.log()}"
            assert time.monotonic() < deadline, f"sshd does not answer: {self.log()}"
            time.sleep(0.02)

    @property
    def enter(self):
        """The words before a command that have it run there, by root and past sshd."""
        [init] = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return ("nsenter", "--target", init, "--mount", "--uts", "--net", "--pid")

    def halt(self):
        """Pull the plug: every process there is gone."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def reboot(self):
        self.halt()
        self.boot()

    def log(self, since=0):
        """What sshd said, from a byte of its log on."""
        return (self.state / "log").read_bytes()[since:].decode(errors="replace")

    def cut(self):
        _run("ip", "link", "set", self._names[1], "down")

    def mend(self):
        _run("ip", "link", "set", self._names[1], "up")

    def throttle(self, megabits):
        """Let so much through in a second, either way."""
        for argv, name in (((), self._names[1]), (("ip", "netns", "exec", self._names[0]), self._names[2])):
            tbf = ("root", "tbf", "rate", f"{megabits}mbit", "burst", "64kb", "latency", "200ms")
            _run(*argv, "tc", "qdisc", "replace", "dev", name, *tbf)

    def undelay(self):
        for argv in ((), ("ip", "netns", "exec", self._names[0])):
            name = self._names[2] if argv else self._names[1]
            subprocess.run([*argv, "tc", "qdisc", "del", "dev", name, "root"], check=False, capture_output=True)

    def disconnect(self):
        """End all shared connections."""
        for path in self.sockets.glob("mlrun/*"):
            argv = ["ssh", "-F", self.config, "-o", f"ControlPath={path}", "-O", "exit", "lab"]
            subprocess.run(argv, check=False, capture_output=True, timeout=20)
            path.unlink(missing_ok=True)

    def close(self):
        self.disconnect()
        self.halt()
        if self.isolated:
            subprocess.run(["ip", "netns", "del", self._names[0]], check=False)
            subprocess.run(["ip", "link", "del", self._names[1]], check=False, capture_output=True)
        shutil.rmtree(self.sockets, ignore_errors=True)

    def _own_tops(self):
        """The top directories that hold this checkout and its Python, where they are no system's."""
        paths = (Path(__file__).resolve(), Path(sys.prefix).resolve())
        tops = {path.parts[1] for path in paths} - {"usr", "bin", "lib", "etc", "home", "opt", "root", "tmp", "mnt"}
        return [f"/{top}" for top in sorted(tops)]

    def _answers(self):
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((self.address, self.port)) == 0

    def _make_network(self):
        space, near, far = self._names
        base = self.address.rpartition(".")[0]
        for attempt in range(5):  # two that are the first to make one get in each other's way
            if subprocess.run(["ip", "netns", "add", space], check=False, capture_output=True).returncode == 0:
                break
            time.sleep(0.2 * (attempt + 1))
        _run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
        _run("ip", "link", "set", far, "netns", space)
        _run("ip", "addr", "add", f"{base}.{self._low + 1}/30", "dev", near)
        _run("ip", "link", "set", near, "up")
        for argv in (
            ("addr", "add", f"{self.address}/30", "dev", far),
            ("link", "set", far, "up"),
            ("link", "set", "lo", "up"),
        ):
            _run("ip", "-n", space, *argv)

    def _write(self):
        number = secrets.randbits(20)
        self._low = (number & 63) * 4
        if self.isolated:
            self.address, self.port = f"10.{77 + (number >> 14) % 100}.{(number >> 6) & 255}.{self._low + 2}", 22
        else:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.address, self.port = "127.0.0.1", probe.getsockname()[1]
        self.near_address = f"{self.address.rpartition('.')[0]}.{self._low + 1}" if self.isolated else self.address
        sshd = self.state / "sshd"
        sshd.mkdir(mode=0o700)
        host, mine, other = (_key(path) for path in (sshd / "host", self.state / "mine", self.state / "other"))
        (sshd / "authorized").write_text(mine + "\n")
        self._write_sshd(sshd)
        self._write_client(host, other)
        if self.isolated:
            self._write_users()
        else:
            self.home.mkdir()

    def _write_sshd(self, sshd):
        place = Path("/mnt") if self.isolated else sshd
        lines = [
            f"Port {self.port}", f"ListenAddress {self.address}", f"HostKey {place}/host", "PidFile none",
            f"AuthorizedKeysFile {place}/authorized", "PasswordAuthentication no", "UsePAM no", "StrictModes no",
            "MaxStartups 100", "MaxSessions 100", "Subsystem sftp internal-sftp", "LogLevel VERBOSE",
        ]  # fmt: skip
        if self.isolated:
            lines += ["Match User nopython", "  SetEnv PATH=/mnt/nothing"]
        (sshd / "sshd_config").write_text("\n".join(lines) + "\n")

    def _write_client(self, host, other):
        named = f"[{self.address}]:{self.port}" if self.port != 22 else self.address
        key, wrong = (" ".join(text.split()[:2]) for text in (host, other))
        (self.state / "known").write_text(f"{named} {key}\n")
        (self.state / "impostor").write_text(f"{named} {wrong}\n")
        (self.state / "nobody").write_text("")
        common = [
            f"HostName {self.address}", f"Port {self.port}", f"IdentityFile {self.state}/mine", "IdentitiesOnly yes",
            "StrictHostKeyChecking ask", "LogLevel INFO", "GlobalKnownHostsFile /dev/null",
        ]  # fmt: skip
        me = getpass.getuser()
        users = {name: name.replace("-", "") if self.isolated else me for name in SHELLS}
        users |= dict.fromkeys(("lab-changed", "lab-unknown", "lab-locked", "lab-slow"), users["lab"])
        users["lab-nopython"] = "nopython" if self.isolated else me
        knows = {"lab-changed": "impostor", "lab-unknown": "nobody"}
        text = ""
        for name, user in users.items():
            lines = [*common, f"User {user}", f"UserKnownHostsFile {self.state / knows.get(name, 'known')}"]
            if name == "lab-locked":
                lines = [line for line in lines if not line.startswith("IdentityFile")]
                lines.append(f"IdentityFile {self.state}/other")
            if name == "lab-slow":
                proxy = f"{sys.executable} {Path(__file__).with_name('slow_link.py')} 50 {self.address} {self.port}"
                lines.append(f"ProxyCommand {proxy}")
            text += f"Host {name}\n" + "".join(f"  {line}\n" for line in lines)
        self.config.write_text(text)

    def _write_users(self):
        etc = self.state / "etc"
        _run("cp", "-a", "/etc", etc)
        users = {name.replace("-", ""): shell for name, shell in SHELLS.items()} | {"nopython": "/bin/sh"}
        passwd, shadow, group = ((etc / name).read_text() for name in ("passwd", "shadow", "group"))
        for number, (user, shell) in enumerate(users.items()):
            passwd += f"{user}:x:{_UID + number}:{_UID}::/home/{user}:{shell if Path(shell).exists() else '/bin/sh'}\n"
            shadow += f"{user}:*:19000:0:99999:7:::\n"
            home = self.state / "home" / user
            home.mkdir(parents=True)
            if user == "labbanner":
                (home / ".bashrc").write_text(_BANNER)
            os.chown(home, _UID + number, _UID)
        (etc / "passwd").write_text(passwd)
        (etc / "shadow").write_text(shadow)
        (etc / "shadow").chmod(0o600)
        (etc / "group").write_text(group + f"lab:x:{_UID}:\n")
        (etc / "machine-id").write_text(uuid.uuid4().hex + "\n")


@contextmanager
def _started(state, *, isolated):
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    need("ssh", sshd and shutil.which("ssh"), "there is no sshd")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    machine = Machine(state, isolated=isolated)
    try:
        yield machine
    finally:
        machine.close()


@contextmanager
def _known(machine, home, monkeypatch):
    """Have `mlrun` know the names of a machine."""
    for name, value in machine.environ().items():
        monkeypatch.setenv(name, value)
    place = home / ".config" / "mlrun"
    place.mkdir(parents=True)
    lines = ["version = 1\n"]
    for name in NAMES:
        lines.append(f'[hosts.{name}]\naddress = "{name}"\n')
        if not machine.isolated:
            lines.append(f'home = "{machine.home}/store"\ncache = "{machine.home}/cache"\n')
    (place / "hosts.toml").write_text("".join(lines))
    said = (machine.state / "log").stat().st_size
    yield machine
    print(machine.log(said))  # noqa: T201 (pytest shows it where the test failed)
    if machine.isolated:
        machine.mend()
        machine.undelay()
    machine.disconnect()


@pytest.fixture(scope="session")
def lab_machine(tmp_path_factory):
    """The lab machine of this test process."""
    with _started(tmp_path_factory.mktemp("machine"), isolated=True) as machine:
        yield machine


@pytest.fixture
def machine(lab_machine, monkeypatch, home):
    """The lab machine, known to `mlrun` as `lab`."""
    with _known(lab_machine, home, monkeypatch) as machine:
        yield machine


@pytest.fixture
def isolated(machine):
    """The lab machine where it has a link, disks and a boot of its own."""
    need("root", machine.isolated, "a machine of its own needs root, iproute2 and unshare")
    return machine


@pytest.fixture
def loopback(tmp_path_factory, monkeypatch, home):
    """An sshd on the loopback, known as `lab`: what needs this machine's own files there."""
    with _started(tmp_path_factory.mktemp("loopback"), isolated=False) as machine:
        with _known(machine, home, monkeypatch) as known:
            yield known
