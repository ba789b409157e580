"""HAProxy's HTTP log: a record of every request, received on a socket that the scaler owns."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_RECORDS = 200_000


@dataclass(frozen=True, slots=True)
class Record:
    """One request. Times are milliseconds; -1: that part was not reached."""

    at_s: float
    """When it was accepted, seconds since the epoch."""
    status: int
    """-1: no answer was sent."""
    server: str
    """`<NOSRV>`: it reached none."""
    queue_ms: int
    connect_ms: int
    answer_ms: int
    total_ms: int
    ended: str
    """HAProxy's termination state, `--` for a good end."""
    retries: str
    """A number; with a `+` the request was sent to another server in the end."""
    method: str
    path: str


def parse(line: str) -> Record:
    """Read a line of the `log-format` in haproxy.cfg.j2; ValueError if it is no such line."""
    at, status, server, _, queue, connect, answer, total, ended, retries, _, method, path = (
        line.split(" ", 12)
    )
    return Record(
        float(at),
        int(status),
        server,
        int(queue),
        int(connect),
        int(answer),
        int(total.lstrip("+")),
        ended,
        retries,
        method,
        path,
    )


def split_frames(data: bytes) -> tuple[list[bytes], bytes]:
    """Messages framed by octet count (RFC 6587, 3.4.1), and the rest that is not whole yet.

    ValueError if the bytes are no such frames.
    """
    messages = []
    start = 0
    while (space := data.find(b" ", start, start + 8)) >= 0:
        end = space + 1 + int(data[start:space])
        if end > len(data):
            break
        messages.append(data[space + 1 : end])
        start = end
    return messages, data[start:]


def quantile(ordered: list[int], share: float) -> float:
    """The nearest-rank quantile of an ordered, non-empty list."""
    return float(ordered[max(0, math.ceil(share * len(ordered)) - 1)])


class RequestLog:
    """Receives the log in a thread of its own and keeps the last `window_s` seconds."""

    def __init__(self, path: Path, window_s: float, group_id: int | None = None) -> None:
        self._window_s = window_s
        self._records: deque[tuple[float, Record]] = deque(maxlen=MAX_RECORDS)
        self._lock = threading.Lock()
        self._new: deque[Record] = deque(maxlen=MAX_RECORDS)
        self._bad_lines = 0
        self._path = path
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o660 if group_id is not None else 0o600)
        if group_id is not None:
            os.chown(path, -1, group_id)
        self._listener.listen(4)
        self._closing = False
        self._thread = threading.Thread(target=self._receive, name="request-log", daemon=True)
        self._thread.start()

    @property
    def bad_lines(self) -> int:
        """Lines that were no records, since the start."""
        return self._bad_lines

    def recent(self) -> list[Record]:
        """What arrived within the window, oldest first."""
        since = time.monotonic() - self._window_s
        with self._lock:
            while self._records and self._records[0][0] < since:
                self._records.popleft()
            return [record for _, record in self._records]

    def new(self) -> list[Record]:
        """What arrived since the last call, oldest first."""
        with self._lock:
            taken = list(self._new)
            self._new.clear()
        return taken

    def close(self) -> None:
        self._closing = True
        # Wakes the thread from accept() or recv(), which closing the descriptor does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=2)
        self._path.unlink(missing_ok=True)

    def _receive(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(0.5)
                for messages in self._messages(connection):
                    self._keep(messages)

    def _messages(self, connection: socket.socket) -> Iterator[list[bytes]]:
        rest = b""
        while not self._closing:
            try:
                chunk = connection.recv(262_144)
                messages, rest = split_frames(rest + chunk)
            except TimeoutError:
                continue
            except (OSError, ValueError):
                return
            if not chunk:
                return
            yield messages

    def _keep(self, messages: list[bytes]) -> None:
        now = time.monotonic()
        for message in messages:
            try:
                record = parse(message.decode(errors="replace").rstrip("\n"))
            except ValueError:
                self._bad_lines += 1
                continue
            with self._lock:
                self._records.append((now, record))
                self._new.append(record)
