"""HAProxy's process: started, reloaded and stopped by its pid file, never by name."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from lab.balancer.runtime import RuntimeSocket
from lab.errors import LabError

START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 12


class HAProxyProcess:
    """The master process of the HAProxy that runs with the configuration in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._config = directory / "haproxy.cfg"
        self._pid_file = directory / "haproxy.pid"
        self._state = directory / "haproxy.state"
        self._socket = RuntimeSocket(directory / "haproxy.sock")

    def pid(self) -> int | None:
        """The master's process id; None if it does not run."""
        try:
            pid = int(self._pid_file.read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return None
        return pid if str(self._config).encode() in command else None

    def start(self) -> None:
        """Start it; nothing happens if it runs already."""
        if self.pid() is not None:
            return
        self._state.touch(mode=0o600)
        result = subprocess.run(
            ["haproxy", "-W", "-D", "-f", str(self._config), "-p", str(self._pid_file)],
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
        )
        if result.returncode != 0:
            raise LabError(f"HAProxy did not start: {_last_line(result.stderr)}")
        self._wait_for_answer()

    def reload(self) -> None:
        """Let a new worker take over with the file that is there now; server states are kept."""
        pid = self.pid()
        if pid is None:
            self.start()
            return
        before = self._worker_pid()
        self._state.write_text(self._socket.ask("show servers state"))
        os.kill(pid, signal.SIGUSR2)
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._worker_pid() in (before, None):
            if time.monotonic() > deadline:
                raise LabError("HAProxy did not take its new configuration: see `lab logs`")
            time.sleep(0.02)

    def stop(self) -> None:
        """Let requests in flight finish, then end it; nothing happens if it does not run."""
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL):
            pid = self.pid()
            if pid is None:
                break
            os.kill(pid, number)
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while self.pid() is not None and time.monotonic() < deadline:
                time.sleep(0.02)
        self._pid_file.unlink(missing_ok=True)

    def _worker_pid(self) -> int | None:
        try:
            info = self._socket.ask("show info")
        except LabError:
            return None
        return next((int(line[5:]) for line in info.splitlines() if line.startswith("Pid: ")), None)

    def _wait_for_answer(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._worker_pid() is None:
            if time.monotonic() > deadline:
                raise LabError("HAProxy runs but its runtime socket does not answer")
            time.sleep(0.01)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
