"""Virtual time: what is to happen, in the order in which it happens."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappush
from itertools import count
from typing import Any

Event = tuple[Any, ...]
"""(at_s, number, 0, function, its argument), or (at_s, number, slot, epoch, request) when a
server's answer is due. Numbers make equal times keep their order and never compare the rest."""


class Clock:
    """Time stands still until somebody takes the next event and sets `now_s` to its time."""

    __slots__ = ("events", "now_s", "numbers")

    def __init__(self) -> None:
        self.now_s = 0.0
        # One event that never comes, so that there always is a next one.
        self.events: list[Event] = [(math.inf, 0, 0, None, None)]
        self.numbers = count(1)

    def at(self, at_s: float, function: Callable[[Any], None], argument: Any = None) -> None:
        """Call `function(argument)` at `at_s`."""
        heappush(self.events, (at_s, next(self.numbers), 0, function, argument))

    def after(self, delay_s: float, function: Callable[[Any], None], argument: Any = None) -> None:
        self.at(self.now_s + delay_s, function, argument)
