"""HAProxy's runtime socket: the one door to a running HAProxy."""

from __future__ import annotations

import socket
from pathlib import Path

from lab.errors import LabError

TIMEOUT_S = 2.0


class BalancerUnreachable(LabError):
    """The runtime socket is missing, refuses, or did not answer in time."""


class RuntimeSocket:
    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def ask(self, *commands: str) -> str:
        """Send the commands in one go; all they answered. Raises BalancerUnreachable."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
                door.settimeout(self._timeout_s)
                door.connect(str(self._path))
                door.sendall(("; ".join(commands) + "\n").encode())
                answer = bytearray()
                while chunk := door.recv(65536):
                    answer += chunk
        except OSError as error:
            raise BalancerUnreachable(
                f"HAProxy does not answer on {self._path} ({error}): `lab up` starts it"
            ) from None
        return answer.decode()

    def tell(self, *commands: str) -> None:
        """Send commands that answer nothing when they succeed; LabError with what they said."""
        answer = self.ask(*commands).strip()
        if answer:
            raise LabError(f"HAProxy refused {'; '.join(commands)}: {answer.splitlines()[0]}")
