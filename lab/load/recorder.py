"""What the locustfile writes for the lab while Locust runs, and how it is read back.

Locust's own percentiles are rounded to two significant figures (a p95 of 347 ms becomes 350 ms).
The recorder counts response times in whole milliseconds, so percentiles are right to ±0.5 ms.
It knows nothing of Locust, which patches the sockets of the process that it runs in.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

from lab.load.tool import LoadResult


class Recorder:
    """Counts requests, and writes the counts to `path` when the load begins and when it ends."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.begin(None)

    def begin(self, at_s: float | None) -> None:
        """`at_s`: seconds since the epoch. The file's appearance is the sign that load began."""
        self._started_s = at_s
        self._times: Counter[int] = Counter()
        self._failures: Counter[str] = Counter()
        if at_s is not None:
            self._write(None)

    def count(self, response_time_ms: float, failure: str | None) -> None:
        """One request; `failure`: in what way it failed, None when it did not."""
        self._times[round(response_time_ms)] += 1
        if failure:
            self._failures[failure] += 1

    def end(self, at_s: float) -> None:
        if self._started_s is not None:
            self._write(at_s)

    def _write(self, ended_s: float | None) -> None:
        if self._path is None:
            return
        document = {
            "started_at_s": self._started_s,
            "ended_at_s": ended_s,
            "failures": self._failures,
            "requests_by_ms": dict(sorted(self._times.items())),
        }
        whole = self._path.with_suffix(".part")
        whole.write_text(json.dumps(document), encoding="utf-8")
        whole.replace(self._path)


def read_record(path: Path) -> dict[str, Any] | None:
    """What the recorder wrote last; None before it wrote anything."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return document


def result_of(record: Mapping[str, Any]) -> LoadResult:
    """The record of a load that ended, as a result."""
    times = {int(ms): count for ms, count in record["requests_by_ms"].items()}
    requests = sum(times.values())
    started_s, ended_s = record["started_at_s"], record["ended_at_s"]
    took_s = (ended_s or started_s) - started_s
    return LoadResult(
        requests=requests,
        failed=sum(record["failures"].values()),
        p50_ms=percentile_ms(times, 50),
        p95_ms=percentile_ms(times, 95),
        p99_ms=percentile_ms(times, 99),
        started_at=datetime.fromtimestamp(started_s, UTC),
        failures=dict(record["failures"]),
        requests_per_s=round(requests / took_s, 2) if took_s > 0 else None,
    )


def percentile_ms(requests_by_ms: Mapping[int, int], percent: float) -> float | None:
    """Nearest rank: the shortest time within which at least `percent` % of the requests were
    answered. None when there were none."""
    rank = ceil(sum(requests_by_ms.values()) * percent / 100)
    seen = 0
    for ms in sorted(requests_by_ms):
        seen += requests_by_ms[ms]
        if seen >= rank:
            return float(ms)
    return None
