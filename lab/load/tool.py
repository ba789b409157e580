"""What the load tools have in common: a process that leaves nothing behind, and a result."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from lab.errors import LabError

STOP_GRACE_S = 5.0
"""A tool that was asked to stop may finish its requests in flight for so long."""


@dataclass(frozen=True)
class LoadResult:
    """What the clients saw. Percentiles count failed requests too; None: there was no request."""

    requests: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    started_at: datetime
    """When the first request could be sent, in UTC."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Failed requests by kind: `HTTP 503`, `ConnectionResetError`, …"""
    requests_per_s: float | None = None
    """Over the whole load, failed ones too."""


class LoadTool(Protocol):
    """A load tool as a run needs it: Locust and ab are two."""

    @property
    def command(self) -> Sequence[str]: ...

    @property
    def environment(self) -> Mapping[str, str]:
        """Of the process, beyond what this one passes on."""

    @property
    def log_path(self) -> Path:
        """Gets what the tool prints."""

    def started_at(self) -> datetime | None:
        """When the load began, in UTC; None while the tool is still starting."""

    def result(self) -> LoadResult:
        """Once the tool ended. Raises `LabError` when it left nothing that can be read."""


class ToolProcess:
    """One run of a tool, in a process group of its own, so that all of it can be stopped.

    A context manager: on the way out the group is ended, whatever happened.
    """

    def __init__(
        self, command: Sequence[str], log_path: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        with log_path.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Settings of the user's own locust.conf in this directory are not the lab's.
                    cwd=log_path.parent,
                    env=_inherited() | dict(environment or {}),
                    start_new_session=True,
                )
            except OSError as error:
                raise LabError(f"cannot start {command[0]}: {error.strerror}") from None

    @property
    def pid(self) -> int:
        """Also the number of the process group."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._ended(os.WNOHANG)

    def wait(self) -> int:
        """Wait until it ended by itself; its exit code."""
        code = self._ended(0)
        assert code is not None
        return code

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Ask the tool to end; after `grace_s` seconds end it. Returns when nothing is left."""
        if self._process.returncode is not None:
            return
        try:
            os.killpg(self.pid, signal.SIGTERM)
            until_s = time.monotonic() + grace_s
            while self.exit_code() is None and time.monotonic() < until_s:
                time.sleep(0.02)
        finally:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def _ended(self, options: int) -> int | None:
        if self._process.returncode is not None:
            return self._process.returncode
        # Not reaped before stop(): until then nobody else can be given the group's number.
        info = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | options)
        if info is None:
            return None
        return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status

    def __enter__(self) -> ToolProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def last_words(log_path: Path, lines: int = 3) -> str:
    """The end of a tool's log, on one line."""
    text = log_path.read_text(encoding="utf-8", errors="replace") if log_path.exists() else ""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(said[-lines:]) or "it said nothing"


def _inherited() -> dict[str, str]:
    """This process's environment without LOCUST_*, which would change a run from outside."""
    return {key: value for key, value in os.environ.items() if not key.startswith("LOCUST_")}
