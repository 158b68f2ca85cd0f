"""Processes are told apart in the same way, wherever and whenever they are looked at."""

import os
import subprocess
import time

import pytest

from runner.worker.processes import hardware_in, identify, is_alive, myself, start_by_ps


def test_a_process_is_known_by_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        identity = identify(child.pid)
        assert identity is not None
        assert is_alive(identity)
        child.kill()
        assert child.wait() < 0
    assert not is_alive(identity)
    assert is_alive(myself())


def test_who_travels_finds_the_processes_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What macOS is asked for; the `ps` of Linux knows it too."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    started = start_by_ps(os.getpid())
    assert started is not None
    monkeypatch.setenv("TZ", "America/New_York")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert start_by_ps(os.getpid()) == started
    with subprocess.Popen(["true"]) as child:
        end = time.monotonic() + 20
        while start_by_ps(child.pid) is not None:  # a zombie is none
            assert time.monotonic() < end
            time.sleep(0.02)
        assert child.wait() == 0
        assert start_by_ps(child.pid) is None


def test_a_mac_is_named_by_its_hardware() -> None:
    said = """+-o J314sAP  <class IOPlatformExpertDevice, id 0x100000227, registered>
    {
      "IOPlatformSerialNumber" = "C02XXXXXXXXX"
      "IOPlatformUUID" = "F0A1B2C3-D4E5-5F60-8A9B-0C1D2E3F4A5B"
      "model" = <"MacBookPro18,3">
    }"""
    assert hardware_in(said) == "F0A1B2C3-D4E5-5F60-8A9B-0C1D2E3F4A5B"
    assert hardware_in("") == ""
