"""What containers and processes have used, read from the kernel's own files."""

from __future__ import annotations

import os
from pathlib import Path

from lab.worlds.base import Usage

CGROUPS = Path("/sys/fs/cgroup")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def of_cgroup(name: str, root: Path = CGROUPS) -> Usage | None:
    """Of the control group `name`, of either version; None if there is none."""
    try:
        if (root / "cpuacct").is_dir():
            cpu_s = int((root / "cpuacct" / name / "cpuacct.usage").read_text()) / 1e9
            memory = root / "memory" / name / "memory.usage_in_bytes"
        else:
            words = (root / name / "cpu.stat").read_text().split()
            cpu_s = int(words[words.index("usage_usec") + 1]) / 1e6
            memory = root / name / "memory.current"
        return Usage(cpu_s, int(memory.read_text()))
    except (OSError, ValueError):
        return None


def of_process(pid: int, proc: Path = Path("/proc")) -> Usage | None:
    """Of the process `pid`; None if it has ended."""
    try:
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        pages = int((proc / str(pid) / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    user, system = int(fields[11]), int(fields[12])
    return Usage((user + system) / TICKS_A_SECOND, pages * PAGE_BYTES)
