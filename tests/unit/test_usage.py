from __future__ import annotations

import os
import time

import pytest

from lab.worlds.base import Usage
from lab.worlds.usage import of_cgroup, of_process


@pytest.fixture
def version_1(tmp_path):
    for controller, file, text in (
        ("cpuacct", "cpuacct.usage", "1500000000"),
        ("memory", "memory.usage_in_bytes", "4096"),
    ):
        folder = tmp_path / controller / "lxc.payload.lab_web-1"
        folder.mkdir(parents=True)
        (folder / file).write_text(text)
    return tmp_path


@pytest.fixture
def version_2(tmp_path):
    folder = tmp_path / "lxc.payload.lab_web-1"
    folder.mkdir()
    (folder / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\nsystem_usec 2\n")
    (folder / "memory.current").write_text("4096\n")
    return tmp_path


@pytest.mark.parametrize("version", ["version_1", "version_2"])
def test_both_versions_of_control_groups_are_read(request, version):
    root = request.getfixturevalue(version)
    assert of_cgroup("lxc.payload.lab_web-1", root) == Usage(1.5, 4096)
    assert of_cgroup("lxc.payload.lab_web-2", root) is None


def test_a_process_is_read_and_one_that_ended_is_unknown():
    before = of_process(os.getpid())
    until = time.thread_time() + 0.1
    while time.thread_time() < until:
        pass
    after = of_process(os.getpid())
    assert 0.05 < after.cpu_s - before.cpu_s < 2
    assert after.memory_bytes > 1_000_000
    assert of_process(2**22 + 1) is None
