"""The balancer of a live world: a running HAProxy, seen and steered."""

from __future__ import annotations

import time

from lab.balancer.requestlog import RequestLog, quantile
from lab.balancer.runtime import BalancerUnreachable, RuntimeSocket
from lab.balancer.statistics import ServerRow, Statistics, StatisticsCut, parse
from lab.core.model import MAX_TIMES, Metrics
from lab.core.phases import Gate
from lab.rate import Rate
from lab.worlds.base import ServerState

FRONTEND = "service"
BACKEND = "web"
RATE_WINDOW_S = 2.0


def server_name(slot: int) -> str:
    return f"web-{slot}"


def slot_number(name: str) -> int:
    return int(name.removeprefix("web-"))


class HAProxyBalancer:
    """Implements `lab.worlds.base.Balancer`."""

    def __init__(self, socket: RuntimeSocket, log: RequestLog) -> None:
        self._socket = socket
        self._log = log
        self._requests = Rate(RATE_WINDOW_S)
        self._errors = Rate(RATE_WINDOW_S)
        self._latest: tuple[float, Statistics] | None = None

    def servers(self) -> dict[int, ServerState] | None:
        try:
            statistics = self._read()
        except (BalancerUnreachable, StatisticsCut):
            self._latest = None
            return None
        self._latest = (time.monotonic(), statistics)
        return {
            slot_number(row.name): ServerState(row.gate, row.sessions, row.queued, row.changed_s)
            for row in statistics.servers
        }

    def _read(self) -> Statistics:
        return parse(self._socket.ask("show stat"), FRONTEND, BACKEND)

    def metrics(self) -> Metrics:
        """From the statistics that `servers` read last, and from the log."""
        if self._latest is None:
            return Metrics()
        at_s, statistics = self._latest
        new = self._log.new()[-MAX_TIMES:]
        times = sorted(record.total_ms for record in self._log.recent() if record.status > 0)
        return Metrics(
            in_flight=statistics.in_flight,
            queued=statistics.queued,
            requests_per_s=self._requests.add(at_s, statistics.requests),
            errors_per_s=self._errors.add(at_s, statistics.errors),
            p50_ms=quantile(times, 0.50) if times else None,
            p95_ms=quantile(times, 0.95) if times else None,
            p99_ms=quantile(times, 0.99) if times else None,
            total_ms=tuple(record.total_ms for record in new),
            answer_ms=tuple(record.answer_ms for record in new if record.answer_ms >= 0),
        )

    def gate(self, slot: int) -> Gate:
        return self._row(slot).gate

    def _row(self, slot: int) -> ServerRow:
        # Not `servers`, whose reading the loop's thread takes its metrics from.
        return next(row for row in self._read().servers if row.name == server_name(slot))

    def open(self, slot: int) -> None:
        server = f"{BACKEND}/{server_name(slot)}"
        # The server answered the scaler's own probe, so it starts as healthy, whatever HAProxy
        # knew of the container that had this slot before.
        self._socket.tell(f"set server {server} health up", f"set server {server} state ready")

    def drain(self, slot: int) -> None:
        self._socket.tell(f"set server {BACKEND}/{server_name(slot)} state drain")

    def shut(self, slot: int) -> int:
        server = f"{BACKEND}/{server_name(slot)}"
        self._socket.tell(f"set server {server} state maint")
        cut = self._row(slot).sessions
        if cut:
            self._socket.tell(f"shutdown sessions server {server}")
        return cut

    def close(self) -> None:
        self._log.close()
