"""What a person asked of the scaler: a small file that the commands write and the scaler reads."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lab.core.model import Operator


@dataclass(frozen=True)
class Wishes:
    pin: int | None = None
    until_s: float | None = None
    """When the pin ends by itself, seconds since the epoch; None: it does not."""
    paused: bool = False
    policy: str = ""
    """Which policy is to steer; "": the one in the settings."""

    def at(self, now_s: float) -> Operator:
        """These wishes at `now_s` seconds since the epoch."""
        if self.pin is None or (self.until_s is not None and self.until_s <= now_s):
            return Operator(paused=self.paused, policy=self.policy)
        left_s = None if self.until_s is None else round(self.until_s - now_s, 1)
        return Operator(self.pin, left_s, self.paused, self.policy)


class OperatorFile:
    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = directory / "operator.json"
        self._clock = clock
        self._read_at: tuple[int, int] | None = None
        self._wishes = Wishes()

    def now(self) -> Operator:
        return self.wishes().at(self._clock())

    def wishes(self) -> Wishes:
        """The wishes in the file, which is read again only when it has changed."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._wishes, self._read_at = Wishes(), None
            return self._wishes
        version = (status.st_mtime_ns, status.st_ino)
        if version != self._read_at:
            self._wishes = Wishes(**json.loads(self._path.read_text(encoding="utf-8")))
            self._read_at = version
        return self._wishes

    def pin(self, servers: int, for_s: float | None = None) -> None:
        until_s = None if for_s is None else self._clock() + for_s
        self._write(replace(self.wishes(), pin=servers, until_s=until_s))

    def unpin(self) -> None:
        self._write(replace(self.wishes(), pin=None, until_s=None))

    def steer(self, policy: str) -> None:
        self._write(replace(self.wishes(), policy=policy))

    def pause(self, paused: bool) -> None:
        self._write(replace(self.wishes(), paused=paused))

    def _write(self, wishes: Wishes) -> None:
        new = self._path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(vars(wishes)), encoding="utf-8")
        new.replace(self._path)
