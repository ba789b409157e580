"""The run record: one JSON line a tick. Every view, verdict and replay reads it and nothing else.

A line holds `tick`, `at` (UTC, ISO 8601), `at_s` (the world's monotonic seconds), `policy`,
`observation` (`slots`, `metrics`, `operator`, `unknown`), `recommendation`, `guards`, `wanted`,
`shadows` (what other policies would have wanted), `actions`, `outcomes`, `tick_ms` and `sentence`.
Numbers that could not be measured are null.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from lab.core.model import (
    Decision,
    Metrics,
    Observation,
    Operator,
    Outcome,
    Phase,
    Slot,
    Verb,
)

ROTATE_BYTES = 64 * 1024 * 1024
TAIL_BYTES = 1024 * 1024
"""A line of a thousand slots fits."""


def to_line(
    tick: int,
    at: datetime,
    policy: str,
    observation: Observation,
    decision: Decision,
    outcomes: tuple[Outcome, ...],
    tick_ms: float,
) -> str:
    return json.dumps(
        {
            "tick": tick,
            "at": at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "at_s": round(observation.at_s, 4),
            "policy": policy,
            "observation": {
                "slots": [asdict(slot) for slot in observation.slots],
                "metrics": asdict(observation.metrics),
                "operator": asdict(observation.operator),
                "unknown": observation.unknown,
            },
            "recommendation": asdict(decision.recommendation),
            "guards": [asdict(note) for note in decision.guards],
            "shadows": [asdict(opinion) for opinion in decision.shadows],
            "wanted": decision.wanted,
            "actions": [asdict(action) for action in decision.actions],
            "outcomes": [asdict(outcome) for outcome in outcomes],
            "tick_ms": round(tick_ms, 2),
            "sentence": decision.sentence,
        },
        separators=(",", ":"),
    )


def observation_of(line: dict[str, Any]) -> Observation:
    """The observation of a trace line, as the scaler saw it."""
    seen = line["observation"]
    slots = tuple(
        Slot(
            **{
                **slot,
                "phase": Phase(slot["phase"]),
                "doing": slot["doing"] and Verb(slot["doing"]),
            }
        )
        for slot in seen["slots"]
    )
    return Observation(
        line["at_s"],
        slots,
        Metrics(**{key: _whole(value) for key, value in seen["metrics"].items()}),
        Operator(**seen["operator"]),
        seen["unknown"],
        datetime.fromisoformat(line["at"]).timestamp(),
    )


def _whole(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class TraceWriter:
    """Appends lines; past `rotate_bytes` the file becomes FILE.1 and a new one is begun."""

    def __init__(self, path: Path, rotate_bytes: int = ROTATE_BYTES) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def write(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()
        if self._file.tell() > self._rotate_bytes:
            self._file.close()
            self._path.replace(_rotated(self._path))
            self._file = self._path.open("a", encoding="utf-8")

    def close(self) -> None:
        self._file.close()


class TraceFollower:
    """Reads the lines that are added to a trace from now on, across its rotation."""

    def __init__(self, path: Path, from_start: bool = False) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._part = ""
        if path.exists():
            self._file = path.open(encoding="utf-8")
            if not from_start:
                self._file.seek(0, 2)

    def read(self) -> Iterator[str]:
        """The whole lines that came since the last call, without their newline."""
        if self._file is None and self._path.exists():
            self._file = self._path.open(encoding="utf-8")
        if self._file is None:
            return
        yield from self._drain(self._file)
        if self._was_replaced(self._file):
            yield from self._drain(self._file)
            self._file.close()
            self._file = None
            yield from self.read()

    def _drain(self, file: IO[str]) -> Iterator[str]:
        *lines, self._part = (self._part + file.read()).split("\n")
        yield from lines

    def _was_replaced(self, file: IO[str]) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(file.fileno()).st_ino
        except FileNotFoundError:
            return False

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def read_trace(path: Path) -> list[dict[str, Any]]:
    """All lines of a finished trace; a last line that was cut short by a crash is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def newest_lines(path: Path, count: int) -> list[dict[str, Any]]:
    """The newest whole lines of a trace, oldest first: `count`, or fewer if there are no more."""
    lines = _tail(path)[-count:]
    if len(lines) < count:
        lines = _tail(_rotated(path))[len(lines) - count :] + lines
    return [json.loads(line) for line in lines]


def _tail(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            begins = max(0, file.seek(0, 2) - TAIL_BYTES)
            file.seek(begins)
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    # What follows the last newline is not whole yet; the first may have been cut by the seek.
    return lines[1 if begins else 0 : -1]


def _rotated(path: Path) -> Path:
    return path.with_suffix(path.suffix + ".1")


def last_line(path: Path) -> dict[str, Any] | None:
    """The newest whole line of a trace; None if there is none."""
    return next(iter(newest_lines(path, 1)), None)


def find_tick(path: Path, number: int) -> dict[str, Any] | None:
    """The newest line of that tick, also from before the trace was rotated; None if there is none.

    Numbers begin anew with each scaler, so the newest one of several is meant.
    """
    start = f'{{"tick":{number},'
    for file in (path, _rotated(path)):
        if file.exists():
            with file.open(encoding="utf-8") as lines:
                found = [line for line in lines if line.startswith(start) and line.endswith("\n")]
            if found:
                newest: dict[str, Any] = json.loads(found[-1])
                return newest
    return None
