"""HAProxy's statistics: the CSV of `show stat`, read by the names in its header."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from lab.core.phases import Gate
from lab.errors import LabError

Row = dict[str, str]


class StatisticsCut(LabError):
    """The answer ended before its last line."""


@dataclass(frozen=True, slots=True)
class ServerRow:
    name: str
    gate: Gate
    sessions: int
    queued: int
    changed_s: int
    """Seconds since its state changed for the last time."""


@dataclass(frozen=True, slots=True)
class Statistics:
    servers: tuple[ServerRow, ...]
    in_flight: int
    """Requests that servers work on."""
    queued: int
    """Requests that wait for a server: in the backend's queue and in those of its servers."""
    requests: int
    """Requests received since HAProxy started."""
    errors: int
    """Answers with a status of 500 or more since HAProxy started."""


def parse(text: str, frontend: str, backend: str) -> Statistics:
    """Read the answer to `show stat`. StatisticsCut if it is not whole."""
    if not text.endswith("\n\n"):
        raise StatisticsCut("HAProxy's statistics were cut short")
    rows = list(csv.DictReader(text.removeprefix("# ").splitlines()))
    by_kind = {(row["pxname"], row["svname"]): row for row in rows}
    try:
        front = by_kind[frontend, "FRONTEND"]
        back = by_kind[backend, "BACKEND"]
    except KeyError as missing:
        raise StatisticsCut(f"HAProxy's statistics lack {missing}") from None
    servers = tuple(
        _server(row)
        for row in rows
        if row["pxname"] == backend and row["svname"] not in ("FRONTEND", "BACKEND")
    )
    return Statistics(
        servers=servers,
        in_flight=sum(server.sessions for server in servers),
        queued=int(back["qcur"]) + sum(server.queued for server in servers),
        requests=int(front["req_tot"]),
        errors=int(front["hrsp_5xx"]),
    )


def _server(row: Row) -> ServerRow:
    return ServerRow(
        name=row["svname"],
        gate=gate_of(row["status"]),
        sessions=int(row["scur"]),
        queued=int(row["qcur"]),
        changed_s=int(row["lastchg"] or 0),
    )


def gate_of(status: str) -> Gate:
    """What HAProxy's status of a server means; `UP 1/3` is on its way down and still used."""
    word = status.split()[0] if status else ""
    match word:
        case "MAINT":
            return Gate.CLOSED
        case "DRAIN" | "NOLB":
            return Gate.DRAINING
        case "UP" | "no":
            return Gate.OPEN
        case "DOWN":
            return Gate.DOWN
    raise StatisticsCut(f"HAProxy's statistics hold an unknown server status {status!r}")
