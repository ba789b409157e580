"""HAProxy's servers: what the scaler does to them, and what health checks find out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from enum import IntEnum
from random import Random

from lab.core.model import Metrics
from lab.core.phases import Gate
from lab.worlds.sim.clock import Clock
from lab.worlds.sim.parameters import Parameters


class Answering(IntEnum):
    """What becomes of a request that is sent to a server."""

    FINE = 0
    REFUSED = 1
    """Nobody listens: the container is gone, or its application does not run yet."""
    NEVER = 2
    """The connection stands, and nothing comes: frozen or hung."""


class Balancer(ABC):
    """Servers without requests; what is done with those is left to others.

    Slots are numbered from 1; 0 means none.
    """

    def __init__(self, clock: Clock, parameters: Parameters, random: Random) -> None:
        self._clock = clock
        self._parameters = parameters
        self._random = random
        slots = parameters.slots + 1
        self._admin = [Gate.CLOSED] * slots
        """What the scaler set: closed, open or draining."""
        self._up = [True] * slots
        """What the health checks say; a closed server is not checked."""
        self._usable = [False] * slots
        """Whether requests are sent there: open and up."""
        self._usable_count = 0
        self._answering = [Answering.REFUSED] * slots
        self._checks = [0] * slots
        """Grows when a result of health checks that is due becomes void."""
        self.changed_s = [0.0] * slots
        """When HAProxy changed the server's state for the last time."""
        self.on_change: Callable[[int], None] = lambda slot: None
        """Called with a slot whose server changed."""

    @abstractmethod
    def run(self, until_s: float) -> None:
        """Let everything happen that happens up to `until_s`."""

    @abstractmethod
    def sessions(self) -> Sequence[int]:
        """Requests at each server (HAProxy's `scur`), by slot."""

    @abstractmethod
    def burned_s(self) -> Sequence[float]:
        """CPU seconds of each server's answers, by slot."""

    @abstractmethod
    def gauges(self) -> Callable[[float], Metrics]:
        """A scaler's own reader of the metrics, which remembers what it has seen."""

    @abstractmethod
    def requests_by_ms(self) -> Counter[int]:
        """How many requests took how long, failed ones too, from the very first one on."""

    @property
    @abstractmethod
    def failures(self) -> Counter[str]:
        """Failed requests by kind."""

    @abstractmethod
    def _joins(self, slot: int) -> None:
        """Requests may be sent there from now on."""

    @abstractmethod
    def _leaves(self, slot: int) -> None:
        """No new request is sent there from now on."""

    @abstractmethod
    def _fill(self, slot: int) -> None:
        """Give a server waiting requests, as far as it is usable and has room."""

    @abstractmethod
    def _lose(self, slot: int) -> int:
        """What is in flight there is sent to another server; how many requests that were."""

    @abstractmethod
    def _now_answers(self, slot: int, answering: Answering) -> None:
        """What is in flight there takes another course."""

    def gate(self, slot: int) -> Gate:
        admin = self._admin[slot]
        return admin if admin is Gate.CLOSED or self._up[slot] else Gate.DOWN

    def open(self, slot: int) -> None:
        """Send it requests. It counts as healthy, whatever was known of it before."""
        was_closed = self._admin[slot] is Gate.CLOSED
        self._set(slot, Gate.OPEN, up=True)
        if was_closed:
            # A server that is taken back while it drains takes nothing from the queue: requests
            # there wait until something ends. [tried on HAProxy 2.6.12]
            self._fill(slot)
        self._check(slot)

    def drain(self, slot: int) -> None:
        """Send it no new request."""
        if self._admin[slot] is Gate.OPEN:
            self._set(slot, Gate.DRAINING, self._up[slot])

    def shut(self, slot: int) -> int:
        """Take it out; how many requests were cut, to be sent to another server."""
        self._set(slot, Gate.CLOSED, up=True)
        return self._lose(slot)

    def becomes(self, slot: int, answering: Answering) -> None:
        """The container of the slot died, hangs, or answers from now on."""
        if answering is self._answering[slot]:
            return
        if answering is Answering.REFUSED:
            self._answering[slot] = answering
            self._lose(slot)
        else:
            self._now_answers(slot, answering)
        self._check(slot)

    def _set(self, slot: int, admin: Gate, up: bool) -> None:
        if (admin, up) != (self._admin[slot], self._up[slot]):
            self.changed_s[slot] = self._clock.now_s
            self.on_change(slot)
        self._admin[slot], self._up[slot] = admin, up
        usable = admin is Gate.OPEN and up
        if usable != self._usable[slot]:
            self._usable[slot] = usable
            self._usable_count += 1 if usable else -1
            if usable:
                self._joins(slot)
            else:
                self._leaves(slot)

    # Health checks

    def _check(self, slot: int) -> None:
        """Have the checks find out, in their time, what has become of the server."""
        self._checks[slot] += 1
        fine = self._answering[slot] is Answering.FINE
        if self._admin[slot] is Gate.CLOSED or fine == self._up[slot]:
            return
        interval_s = self._parameters.check_interval_s
        more = 0 if fine else self._parameters.check_fall - 1
        if self._answering[slot] is Answering.NEVER:
            more += 1  # the last one, too, has to time out
        found_s = (self._random.random() + more) * interval_s
        self._clock.after(found_s, self._found, (slot, self._checks[slot], fine))

    def _found(self, result: tuple[int, int, bool]) -> None:
        slot, number, fine = result
        if number == self._checks[slot] and self._admin[slot] is not Gate.CLOSED:
            self._set(slot, self._admin[slot], fine)
            self._fill(slot)
