"""Asking an application whether it is ready."""

from __future__ import annotations

import http.client

TIMEOUT_S = 1.0


def probe(address: str, port: int, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether `GET /healthz` answers 200."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
