"""The machine a run is on, read in a few milliseconds from what the kernel has at hand."""

from __future__ import annotations

import os
import sys
from typing import Optional

from runner.worker.facts import Gap, Gpu, HostFacts
from runner.worker.libc import libc
from runner.worker.processors import processors

_HEAD = 16384  # bytes of /proc/cpuinfo: the first processor; the others are like it, and there may be hundreds
_NVIDIA = "/proc/driver/nvidia"


def host_facts() -> HostFacts:
    """Return the facts of this host; what it does not tell is a gap."""
    names = os.uname()
    model, features, memory = _darwin() if sys.platform == "darwin" else _linux()
    gpus, gaps = _gpus()
    if not model:
        gaps += (Gap("platform.cpu", "the kernel does not name the processor"),)
    if memory is None:
        gaps += (Gap("platform.memory", "the kernel does not say how much there is"),)
    return HostFacts(
        hostname=names.nodename,
        os=f"{names.sysname} {names.release}{_distribution()}",
        kernel=names.version,
        machine=names.machine,
        libc=libc(),
        cpu_model=model,
        cpu_features=features,
        cpus=processors(),
        memory=memory,
        gpus=gpus,
        container=_container(),
        gaps=gaps,
    )


def _linux() -> tuple[str, tuple[str, ...], Optional[int]]:
    facts: dict[str, str] = {}
    for line in _head("/proc/cpuinfo", _HEAD).splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    model = facts.get("model name") or facts.get("Model") or facts.get("cpu") or facts.get("CPU part") or ""
    features = facts.get("flags") or facts.get("Features") or ""
    return model, tuple(sorted(set(features.split()))), _memory()


def _darwin() -> tuple[str, tuple[str, ...], Optional[int]]:
    from runner.worker.tools import call

    lines = call(["sysctl", "-n", "machdep.cpu.brand_string", "hw.memsize"]).text.splitlines()
    memory = int(lines[1]) if len(lines) > 1 and lines[1].isdigit() else None
    return (lines[0] if lines else ""), (), memory


def _memory() -> Optional[int]:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _distribution() -> str:
    for line in _head("/etc/os-release", 4096).splitlines():
        if line.startswith("PRETTY_NAME="):
            name = line.partition("=")[2].strip().strip("\"'")
            return f" ({name})"
    return ""


def _container() -> Optional[str]:
    if os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER"):
        return "apptainer"
    if os.path.exists("/run/.containerenv"):
        return "podman"
    if os.path.exists("/.dockerenv"):
        return "docker"
    groups = _head("/proc/self/cgroup", 4096)
    return next((name for name in ("kubepods", "docker", "lxc", "podman") if name in groups), None)


def _gpus() -> tuple[tuple[Gpu, ...], tuple[Gap, ...]]:
    try:
        cards = sorted(os.listdir(f"{_NVIDIA}/gpus"))
    except OSError:
        return _gpus_by_tool() if os.path.exists("/dev/nvidia0") else ((), ())
    driver = next((word for word in _head(f"{_NVIDIA}/version", 512).split() if word[:1].isdigit() and "." in word), "")
    models = [_field(_head(f"{_NVIDIA}/gpus/{card}/information", 2048), "Model") for card in cards]
    gap = Gap("platform.gpus.memory", "the driver's files do not say it, and asking nvidia-smi takes seconds")
    return tuple(Gpu(model or "unknown", driver) for model in models), (gap,) if models else ()


def _gpus_by_tool() -> tuple[tuple[Gpu, ...], tuple[Gap, ...]]:
    from runner.worker.tools import TimedOut, call

    question = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"]
    try:
        rows = [line.split(", ") for line in call(question, timeout=10).text.splitlines()]
        return tuple(Gpu(name, driver, int(size) << 20) for name, driver, size in rows), ()
    except (OSError, ValueError, TimedOut):
        return (), (Gap("platform.gpus", "there is /dev/nvidia0, but nvidia-smi does not answer"),)


def _field(text: str, name: str) -> str:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _head(path: str, size: int) -> str:
    try:
        with open(path, "rb", buffering=0) as stream:
            return stream.read(size).decode("utf-8", "replace")
    except OSError:
        return ""
