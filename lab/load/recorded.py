"""Load from files: a table of (time, requests a second), or a web server's access log."""

from __future__ import annotations

import csv
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from lab.load.arrivals import RatePoints, counted
from lab.load.shapes import RateShape

STAMP = re.compile(r"\[(\d{2}/\w{3}/\d{4}:\d{2}:\d{2}:\d{2}(?:\.\d+)?)(?: ([+-]\d{4}))?\]")
"""Of the common and combined log formats, and of HAProxy's `option httplog` (no zone, but ms)."""
LAB_LOG = re.compile(r"^(\d{9,}\.\d+) -?\d{1,3} ")
"""The lab's own log: seconds since the epoch, and the status."""


def rates_of_table(path: Path) -> RatePoints:
    """The rows of a CSV file, straight lines in between; times begin at the first row's.

    A first row that is no pair of numbers is a heading. A time is in seconds, or ISO 8601. Raises
    ValueError with the line that cannot be read.
    """
    points: list[tuple[float, float]] = []
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row or row[0].lstrip().startswith("#"):
                continue
            try:
                time_s, rate = _seconds(row[0]), float(row[1])
            except (ValueError, IndexError):
                if number == 1:
                    continue
                raise ValueError(f"{path}, line {number}: no time and requests/s") from None
            if rate < 0 or (points and time_s < points[-1][0]):
                what = f"{rate:g} requests/s" if rate < 0 else "its time is before the last one"
                raise ValueError(f"{path}, line {number}: {what}")
            points.append((time_s, rate))
    if len(points) < 2:
        raise ValueError(f"{path}: fewer than two rows of time and requests/s")
    first_s = points[0][0]
    return tuple((time_s - first_s, rate) for time_s, rate in points)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text.strip()).timestamp()


def rates_of_log(path: Path, bin_s: float) -> RatePoints:
    """Requests a second in each `bin_s` seconds of an access log, from its first request on.

    Lines need not be in order; those without a time are left out. Raises ValueError when none has
    one.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        times_s = [time_s for line in file if (time_s := _logged_at(line)) is not None]
    if not times_s:
        raise ValueError(f"{path}: no line with a time like [21/Nov/2026:03:12:57 +0000]")
    first_s = min(times_s)
    return counted((time_s - first_s for time_s in times_s), bin_s)


def _logged_at(line: str) -> float | None:
    if own := LAB_LOG.match(line):
        return float(own[1])
    found = STAMP.search(line)
    if found is None:
        return None
    form = "%d/%b/%Y:%H:%M:%S" + (".%f" if "." in found[1] else "")
    return datetime.strptime(f"{found[1]} {found[2] or '+0000'}", f"{form} %z").timestamp()


class FileShape(RateShape):
    """Read from `file`, whose path counts from the scenario's own folder, `faster` than it was."""

    file: Annotated[str, Field(min_length=1)]
    faster: Annotated[float, Field(gt=0, le=100_000)] = 1.0
    times_rate: Annotated[float, Field(gt=0, le=100_000)] = 1.0
    """All rates are multiplied by this."""
    _points: RatePoints = PrivateAttr(default=())

    @model_validator(mode="after")
    def _read(self, info: ValidationInfo) -> FileShape:
        folder = (info.context or {}).get("folder", Path())
        try:
            found = self._rates(folder / self.file)
        except OSError as error:
            raise ValueError(f"{folder / self.file}: {error.strerror}") from None
        self._points = tuple((t_s / self.faster, rate * self.times_rate) for t_s, rate in found)
        return self

    def _rates(self, path: Path) -> RatePoints:
        raise NotImplementedError

    def points(self) -> RatePoints:
        return self._points


class RateFile(FileShape):
    """A CSV file of (time, requests a second)."""

    kind: Literal["rate-file"]

    def _rates(self, path: Path) -> RatePoints:
        return rates_of_table(path)


class AccessLog(FileShape):
    """The requests of an access log, counted in each `bin_s` seconds."""

    kind: Literal["access-log"]
    bin_s: Annotated[float, Field(ge=0.1, le=3600)] = 1.0

    def _rates(self, path: Path) -> RatePoints:
        return rates_of_log(path, self.bin_s)
