"""Copies the lab's trace into a run's folder while the load runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from lab.errors import LabError
from lab.trace import TraceFollower

OnLine = Callable[[dict[str, Any]], None]


class Recording:
    """Follows `trace_path` from now on; the lines from the load's start on go to `copy_path`.

    A context manager, which closes both files.
    """

    def __init__(
        self, trace_path: Path, copy_path: Path, stale_s: float, on_line: OnLine | None
    ) -> None:
        self.lines: list[dict[str, Any]] = []
        """What was copied."""
        self._trace_path = trace_path
        self._stale_s = stale_s
        self._on_line = on_line
        self._follower = TraceFollower(trace_path)
        self._copy: IO[str] = copy_path.open("w", encoding="utf-8")
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._last_line_s = time.monotonic()

    def poll(self, load_started_at: datetime | None) -> int:
        """Take what is new, and return how many lines were copied.

        Before the start of the load is known, lines are kept back, for it may lie before some of
        them. Raises `LabError` when there was no new line for `stale_s` seconds.
        """
        for text in self._follower.read():
            line = _parsed(text)
            if line is None:
                continue
            self._last_line_s = time.monotonic()
            self._waiting.append((text, line))
            if self._on_line:
                self._on_line(line)
        quiet_s = time.monotonic() - self._last_line_s
        if quiet_s > self._stale_s:
            raise LabError(
                f"{self._trace_path}: no new line for {quiet_s:.0f} s, so the scaler is gone: "
                "`lab up` starts it again"
            )
        return self._copy_since(load_started_at) if load_started_at else 0

    def _copy_since(self, load_started_at: datetime) -> int:
        copied = 0
        for text, line in self._waiting:
            if datetime.fromisoformat(line["at"]) >= load_started_at:
                self._copy.write(text + "\n")
                self.lines.append(line)
                copied += 1
        self._waiting.clear()
        self._copy.flush()
        return copied

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self._follower.close()
        self._copy.close()


def _parsed(text: str) -> dict[str, Any] | None:
    """None for a line that a killed scaler did not finish and its successor wrote on."""
    try:
        line: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError:
        return None
    return line
