"""What this kernel can do."""

from __future__ import annotations

from pathlib import Path

from lab.errors import LabError
from lab.host.processes import run

MODPROBE_TIMEOUT_S = 20.0


def has_filesystem(filesystem: str, module: str) -> bool:
    """Whether the kernel knows this file system, or has the module that brings it."""
    if filesystem in Path("/proc/filesystems").read_text(encoding="utf-8").split():
        return True
    try:
        run(["modprobe", "-n", "-q", module], MODPROBE_TIMEOUT_S)
    except LabError:
        return False
    return True


def setting(name: str) -> int | None:
    """A number below /proc/sys, like `fs.inotify.max_user_instances`; None: not there."""
    try:
        return int(Path("/proc/sys", *name.split(".")).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
