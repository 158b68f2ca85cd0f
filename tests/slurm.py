"""A real Slurm cluster of one node for tests: sockets, ports, state and credentials of its own, shared by all workers.

`cluster` is for tests that leave it as it is; `own_cluster` for those that kill its daemons.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.machines import Machine
from tests.needs import need

GROUPS = Path("/sys/fs/cgroup")
_PATIENCE = 60.0  # seconds for a daemon to answer on a loaded machine

_CONF = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={base}/munge.socket
CredType=cred/munge
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=10
MessageTimeout={patience}
KillWait=5
DefMemPerCPU=100
MpiDefault=none
SwitchType=switch/none
SlurmctldDebug=info
SlurmdDebug=info
NodeName={host} NodeAddr=127.0.0.1 CPUs=64 Sockets=1 CoresPerSocket=64 ThreadsPerCore=1 RealMemory=6400
PartitionName=debug Nodes={host} Default=YES MaxTime=60 State=UP
PartitionName=closed Nodes={host} State=DOWN
"""


_MUNGE = {"key-file": ".key", "socket": ".socket", "pid-file": "d.pid", "log-file": "d.log", "seed-file": "d.seed"}


@dataclass(frozen=True)
class Cluster:
    """One node that takes jobs; `base` holds all that it is made of."""

    base: Path
    host: str = os.uname().nodename
    inside: Path | None = None  # where `base` lies for those inside
    patience: int = 10  # seconds that its commands try to reach its controller
    enter: tuple[str, ...] = ()  # the words that lead inside, where the node is a machine of its own

    @property
    def conf(self) -> Path:
        return (self.inside or self.base) / "slurm.conf"

    @property
    def environ(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.conf)}

    def call(self, *argv: str, check: bool = True) -> str:
        environ, argv = {**os.environ, **self.environ}, (*self.enter, *argv)
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()

    def pid(self, daemon: str) -> int:
        return int((self.base / f"{daemon}.pid").read_text())

    def stop(self, daemon: str) -> None:
        """Kill a daemon, and wait until it has gone."""
        pid = self.pid(daemon)
        os.kill(pid, signal.SIGKILL)
        until_gone(pid)

    def run_daemon(self, daemon: str, *options: str, blind: Sequence[Path] = ()) -> None:
        """Start a daemon; ``blind``: directories that it, and its jobs, find empty."""
        argv = [f"/usr/sbin/{daemon}", *options]
        if blind:
            script = 'for each in "$@"; do mount -t tmpfs tmpfs "$each" || exit; done; exec "$0"'
            argv = ["unshare", "--mount", "sh", "-c", script, *argv[:1], *map(str, blind)]
        environ = {"PATH": os.environ["PATH"], **self.environ}  # they are no process of the test's runs
        subprocess.run([*self.enter, *argv], env=environ, check=True, timeout=60)

    def blind(self, *directories: Path) -> None:
        """Have the node find directories empty, as if its file system were not the login node's."""
        self.stop("slurmd")
        self.run_daemon("slurmd", blind=directories)
        self.until_idle()

    def until_idle(self) -> None:
        """Wait until the node takes jobs."""
        deadline = time.monotonic() + _PATIENCE
        while "up idle" not in (state := self.call("sinfo", "-h", "-p", "debug", "-o", "%a %T", check=False)):
            assert time.monotonic() < deadline, f"the node is {state!r}\n{(self.base / 'slurmd.log').read_text()}"
            time.sleep(0.05)

    def start(self) -> None:
        inside = self.inside or self.base
        (self.base / "slurm.conf").write_text(self.settings(inside))
        for name in ("state", "spool"):
            (self.base / name).mkdir(exist_ok=True)
        key = self.base / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        argv = [f"--{name}={inside}/munge{rest}" for name, rest in _MUNGE.items()]
        argv = [*self.enter, "/usr/sbin/munged", "--force", *argv]
        subprocess.run(argv, check=True, capture_output=True, timeout=60, env={"PATH": os.environ["PATH"]})
        self.run_daemon("slurmctld")
        self.run_nodes()
        self.until_idle()

    def settings(self, inside: Path) -> str:
        """Return slurm.conf, with ports that are free now."""
        controller, node = _free_ports()
        return _CONF.format(base=inside, host=self.host, controller=controller, node=node, patience=self.patience)

    def run_nodes(self) -> None:
        self.run_daemon("slurmd")

    def end(self) -> None:
        for path in self.base.glob("*d.pid"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(path.read_text()), signal.SIGKILL)
        for place in Path("/proc").glob("[0-9]*"):  # those who watch over jobs outlive the daemon of their node
            with contextlib.suppress(OSError):
                ours = self.conf.as_posix().encode() in (place / "environ").read_bytes()
                if ours and (place / "cmdline").read_bytes().startswith(b"slurmstepd"):
                    os.kill(int(place.name), signal.SIGKILL)
        shutil.rmtree(self.base, ignore_errors=True)


_NODES = """\
NodeName={left} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[0]} CPUs=64 RealMemory=6400
NodeName={right} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=64 RealMemory=6400
PartitionName=debug Nodes={left},{right} Default=YES MaxTime=60 State=UP
"""
_GROUPS_OF_JOBS = {
    "ProctrackType": "proctrack/cgroup",
    "TaskPlugin": "task/cgroup",
    "JobAcctGatherType": "jobacct_gather/cgroup",
    "JobAcctGatherParams": "NoShared",  # the kernel sees to memory
    "SlurmdSpoolDir": "{base}/spool/%n",
    "SlurmdPidFile": "{base}/%n-slurmd.pid",
    "SlurmdLogFile": "{base}/%n-slurmd.log",
}


@dataclass(frozen=True)
class ConfinedCluster(Cluster):
    """Two nodes on this machine that hold each job in a control group: its memory, and all its processes."""

    @property
    def nodes(self) -> tuple[str, str]:
        mark = hashlib.sha256(os.fsencode(self.base)).hexdigest()[:8]  # they name the groups: no other cluster's
        return f"left{mark}", f"right{mark}"

    def settings(self, inside: Path) -> str:
        groups = ("CgroupPlugin=cgroup/v1", f"CgroupMountpoint={GROUPS}", "ConstrainRAMSpace=yes")
        (self.base / "cgroup.conf").write_text("\n".join(groups))
        lines = super().settings(inside).splitlines()
        kept = [line for line in lines if not line.startswith(("NodeName", "PartitionName", *_GROUPS_OF_JOBS))]
        kept += [f"{key}={value.format(base=inside)}" for key, value in _GROUPS_OF_JOBS.items()]
        left, right = self.nodes
        return "\n".join(kept) + "\n" + _NODES.format(left=left, right=right, host=self.host, ports=_free_ports())

    def run_nodes(self) -> None:
        for node in self.nodes:
            (self.base / "spool" / node).mkdir()
            self.run_daemon("slurmd", "-N", node)

    def end(self) -> None:
        super().end()
        for directory in (found for node in self.nodes for found in GROUPS.glob(f"*/slurm_{node}")):
            for path, _, _ in os.walk(directory, topdown=False):
                with contextlib.suppress(OSError):  # its processes are on their way
                    Path(path).rmdir()


def until_gone(pid: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def need_slurm() -> None:
    need("slurm", os.getuid() == 0, "only root can start a Slurm cluster of its own")
    for program in ("slurmctld", "slurmd", "munged"):
        need("slurm", Path(f"/usr/sbin/{program}").exists(), f"there is no {program} here")


_wardens: list["subprocess.Popen[bytes]"] = []  # they outlive us

# Ends a cluster as soon as nobody holds `users` any more: also where the tests were killed.
_WARDEN = """
import fcntl, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
import tests.slurm
with open(sys.argv[1] + "/users") as users:
    fcntl.flock(users, fcntl.LOCK_EX)
    getattr(tests.slurm, sys.argv[3])(Path(sys.argv[1])).end()
"""


@contextmanager
def used(made: Cluster) -> Iterator[Cluster]:
    """Use a cluster whose directory exists, started where nobody uses it yet."""
    base = made.base
    with (base / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with (base / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (base / "ready").exists():
                warden = [sys.executable, "-c", _WARDEN, str(base), str(Path(__file__).parents[1]), type(made).__name__]
                _wardens.append(subprocess.Popen(warden, start_new_session=True))
                made.start()
                (base / "ready").touch()
        yield made


@pytest.fixture(scope="session")
def _shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need_slurm()
    common = tmp_path_factory.getbasetemp()
    common = common.parent if "PYTEST_XDIST_WORKER" in os.environ else common
    with (common / "slurm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = common / "slurm.place"
        if not place.exists() or not Path(place.read_text()).exists():
            place.write_text(str(make_base()))
        base = Path(place.read_text())
        using = used(Cluster(base))
        made = using.__enter__()  # before another one can take it for abandoned
    try:
        yield made
    finally:
        using.__exit__(None, None, None)


def make_base() -> Path:
    """Make a directory that any user can reach: jobs of others come to the sockets."""
    base = Path(tempfile.mkdtemp(prefix="mlrun-slurm-"))
    base.chmod(0o755)
    return base


@pytest.fixture
def cluster(_shared_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster of all tests; Slurm's commands find it."""
    monkeypatch.setenv("SLURM_CONF", str(_shared_cluster.conf))
    return _shared_cluster


@pytest.fixture
def own_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster of the test's own, to be broken."""
    need_slurm()
    with used(Cluster(make_base(), patience=3)) as made:
        monkeypatch.setenv("SLURM_CONF", str(made.conf))
        yield made


# slurmd wants to see control groups, of either kind, and uses none.
_GROUPS = """
mount -t cgroup2 cgroup2 /sys/fs/cgroup && [ -s /sys/fs/cgroup/cgroup.controllers ] && exit
mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
"""


@pytest.fixture
def login_node(isolated: Machine, home: Path) -> Cluster:
    """The lab machine as the login node, and the one node, of a cluster; `mlrun` knows it as the host `queue`."""
    need_slurm()
    base = isolated.state / "home" / "cluster"
    base.mkdir(exist_ok=True)
    # It goes with the machine, when that is rebooted.
    made = Cluster(base, "lab-machine", Path("/home/cluster"), enter=isolated.enter)
    if not (base / "slurm.conf").exists() or not made.call("scontrol", "ping", check=False).endswith("UP"):
        made.call("sh", "-c", _GROUPS)
        made.start()
    with (home / ".config" / "mlrun" / "hosts.toml").open("a") as hosts:
        hosts.write(f'[hosts.queue]\naddress = "lab"\nlauncher = "slurm"\nsetup = "export SLURM_CONF={made.conf}"\n')
    return made
