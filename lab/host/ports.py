"""Which TCP ports are free."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection

from lab.errors import LabError

PORTS_TO_TRY = 200


def port_is_free(address: str, port: int) -> bool:
    """Whether a server could listen there now. Raises `LabError` when it never can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a server that just ended do not keep its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            if error.errno == errno.EADDRNOTAVAIL:
                raise LabError(
                    f"{address} is no address of this host: set balancer.bind to one, or 0.0.0.0"
                ) from None
            if error.errno == errno.EACCES:
                raise LabError(f"port {port} needs root: run it with sudo") from None
            raise
    return True


def free_port(address: str, port: int, mine: bool = False, avoid: Collection[int] = ()) -> int:
    """`port`, or the next one that is free on `address` and not in `avoid`.

    `mine`: the lab's own server is known to listen there, which is as good as free.
    Raises `LabError` when none of the next 200 is free.
    """
    if mine:
        return port
    last = min(port + PORTS_TO_TRY, 65535)
    for candidate in range(port, last + 1):
        if candidate not in avoid and port_is_free(address, candidate):
            return candidate
    raise LabError(f"no port from {port} to {last} is free on {address}: set balancer.port lower")
