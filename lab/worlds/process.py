"""Local processes in the place of containers: the same application, no root and no LXD.

A slot's process listens on loopback at `first_port + slot`. Its pid file is what a container's
record is to LXD: it says that the slot exists, and a scaler that starts anew finds it there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lab.core.phases import Container
from lab.errors import LabError
from lab.worlds.base import Usage
from lab.worlds.probe import probe
from lab.worlds.usage import of_process


class ProcessFleet:
    """Implements `lab.worlds.base.Fleet`."""

    def __init__(
        self,
        directory: Path,
        application: Path,
        share: Path,
        slots: int,
        workers: int,
        first_port: int,
    ) -> None:
        self._directory = directory / "slots"
        self._directory.mkdir(parents=True, exist_ok=True)
        self._application = application
        self._share = share
        self._numbers = range(1, slots + 1)
        self._workers = workers
        self._first_port = first_port
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def containers(self) -> dict[int, Container]:
        return {number: self._container(number) for number in self._numbers}

    def usage(self) -> dict[int, Usage]:
        found = {}
        for slot in self._numbers:
            pid = self._pid(slot)
            usage = None if pid is None else of_process(pid)
            if usage is not None:
                found[slot] = usage
        return found

    def create(self, slot: int, deadline_s: float) -> None:
        self._pid_file(slot).touch()

    def start(self, slot: int, deadline_s: float) -> None:
        if self._container(slot) is Container.FROZEN:
            os.kill(self._pid(slot) or 0, signal.SIGCONT)
            return
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(self._application)],
            env={
                "LAB_ADDRESS": "127.0.0.1",
                "LAB_PORT": str(self._first_port + slot),
                "LAB_WORKERS": str(self._workers),
                "LAB_SHARE": str(self._share),
                "LAB_NAME": f"web-{slot}",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._children[slot] = child
        self._pid_file(slot).write_text(str(child.pid))

    def stop(self, slot: int, deadline_s: float) -> None:
        pid = self._pid(slot)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            until = time.monotonic() + deadline_s
            while self._pid(slot) is not None:
                if time.monotonic() > until:
                    raise LabError(f"process {pid} of slot {slot} does not end")
                time.sleep(0.005)
        self._pid_file(slot).write_text("")

    def delete(self, slot: int, deadline_s: float) -> None:
        if self._pid_file(slot).exists():
            self.stop(slot, deadline_s)
        self._pid_file(slot).unlink(missing_ok=True)

    def answers(self, slot: int) -> bool:
        return probe("127.0.0.1", self._first_port + slot)

    def close(self) -> None:
        """The processes go on, like containers."""

    def _container(self, slot: int) -> Container:
        if not self._pid_file(slot).exists():
            return Container.ABSENT
        pid = self._pid(slot)
        if pid is None:
            return Container.STOPPED
        return Container.FROZEN if _state(pid) == "T" else Container.RUNNING

    def _pid_file(self, slot: int) -> Path:
        return self._directory / f"web-{slot}.pid"

    def _pid(self, slot: int) -> int | None:
        """The id of the slot's running process; a process that took the same id is not it."""
        child = self._children.get(slot)
        if child is not None and child.poll() is None:
            # Its command line is empty for a moment after it was started.
            return child.pid
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pid_file(slot).read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if str(self._application).encode() in words and _state(pid) != "Z":
                return pid
        return None


def _state(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "Z"
