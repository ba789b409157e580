"""Runs ab (ApacheBench) against the lab, with the user's own arguments, and reads what it says.

The lab adds `-l`, because pages differ in length by the host name in them and ab would otherwise
count every page that is not as long as the first one as failed; `-r`, so that a connection which
breaks is counted instead of ending the run; `-q`; and `-e`, for percentiles to the microsecond.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lab.errors import LabError, UsageError
from lab.load.tool import LoadResult


@dataclass(frozen=True)
class Ab:
    """One run of ab. It leaves `ab.log` (what it printed) and `ab.csv` (percentiles)."""

    program: str
    """As `check_ab` found it."""
    arguments: tuple[str, ...]
    url: str
    """Of the page, with its path: ab takes no URL without one."""
    folder: Path
    start_at: datetime
    """Now, in UTC: ab sends its first request as soon as it runs."""

    @property
    def command(self) -> list[str]:
        return [self.program, "-l", "-r", "-q", "-e", "ab.csv", *self.arguments, self.url]

    @property
    def environment(self) -> dict[str, str]:
        return {}

    @property
    def log_path(self) -> Path:
        return self.folder / "ab.log"

    def started_at(self) -> datetime:
        return self.start_at

    def result(self) -> LoadResult:
        report = self.log_path.read_text(encoding="utf-8", errors="replace")
        csv_path = self.folder / "ab.csv"
        csv = csv_path.read_text(encoding="utf-8") if csv_path.exists() else ""
        return parse(report, csv, self.start_at)


def check_ab(arguments: Sequence[str]) -> str:
    """The path of ab. Raises `UsageError` for what the lab sets itself, `LabError` without ab."""
    for argument in arguments:
        if re.match(r"https?://", argument):
            raise UsageError(f"ab {argument}: leave the address out, it is the lab's; see --path")
        if argument.startswith("-e"):
            raise UsageError("ab -e: leave it out, percentiles go to ab.csv in the run folder")
    program = shutil.which("ab")
    if program is None:
        raise LabError(
            "ab is not installed: `sudo apt-get install apache2-utils`, or run ./lab.sh, "
            "which installs it"
        )
    return program


def parse(report: str, csv: str, started_at: datetime) -> LoadResult:
    """ab's printed report, and the file it wrote for `-e` ("" if there is none), as a result.

    Failed are ab's own failed requests, broken writes, and answers other than 2xx, which ab counts
    apart. A refused connection is two failures for ab; there are never more than requests here.
    Raises `LabError` when the report was not finished.
    """
    complete = _number(report, r"Complete requests: +(\d+)")
    if complete is None:
        raise LabError(f"ab gave no result: {_complaint(report)}")
    kinds = re.search(
        r"\(Connect: (\d+), Receive: (\d+), Length: (\d+), Exceptions: (\d+)\)", report
    )
    names = ("connect", "receive", "length", "exception")
    failures = dict(zip(names, map(int, kinds.groups()), strict=True)) if kinds else {}
    failures["write"] = int(_number(report, r"Write errors: +(\d+)") or 0)
    failures["non-2xx"] = int(_number(report, r"Non-2xx responses: +(\d+)") or 0)
    percentiles = _percentiles(csv)
    return LoadResult(
        requests=int(complete),
        failed=min(int(complete), sum(failures.values())),
        p50_ms=percentiles.get(50),
        p95_ms=percentiles.get(95),
        p99_ms=percentiles.get(99),
        started_at=started_at,
        failures={kind: count for kind, count in failures.items() if count},
        requests_per_s=_number(report, r"Requests per second: +([\d.]+)"),
    )


def _number(report: str, pattern: str) -> float | None:
    found = re.search(pattern, report)
    return float(found[1]) if found else None


def _percentiles(csv: str) -> dict[int, float]:
    """Percent → milliseconds, from lines like `95,30.468`."""
    rows = re.findall(r"^(\d+),([\d.]+)$", csv, re.MULTILINE)
    return {int(percent): float(ms) for percent, ms in rows}


def _complaint(report: str) -> str:
    """The line that says why: before the usage, when ab prints that, or else the last one."""
    said = [line.strip() for line in report.partition("Usage:")[0].splitlines() if line.strip()]
    return said[-1] if said else "it printed nothing"
