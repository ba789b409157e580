"""Who sends requests: an open loop, which does not wait for answers, or users, who do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from random import Random
from typing import NamedTuple, Protocol

from lab.worlds.sim.clock import Clock
from lab.worlds.sim.service import Service

USERS_EVERY_S = 1.0
"""How often Locust looks how many users there should be."""


class Request(NamedTuple):
    arrived_s: float
    service_s: float
    """How long a server works on it."""
    chosen: int
    """Which of the mix."""
    user: int | None
    """None: nobody waits for its answer before the next request."""
    retries: int = 0


class Traffic(Protocol):
    def incoming(self) -> Iterator[Request]:
        """Requests whose times are known beforehand, in order."""
        ...

    def begin(self, clock: Clock, send: Callable[[Request], None]) -> None:
        """Called once, at the start of the load."""
        ...

    def ended(self, user: int) -> None:
        """The user's request ended, in whatever way."""
        ...

    def burned_s(self, request: Request) -> float:
        """CPU time that a server spends on it."""
        ...


class OpenLoop:
    """Requests at given times, whether or not earlier ones were answered."""

    def __init__(self, arrivals_s: Iterable[float], service: Service, random: Random) -> None:
        self._arrivals_s = arrivals_s
        self._service = service
        self._random = random

    def incoming(self) -> Iterator[Request]:
        draw, random, new = self._service.draw, self._random, tuple.__new__
        for at_s in self._arrivals_s:
            chosen, service_s = draw(random)
            yield new(Request, (at_s, service_s, chosen, None, 0))

    def begin(self, clock: Clock, send: Callable[[Request], None]) -> None: ...

    def ended(self, user: int) -> None: ...

    def burned_s(self, request: Request) -> float:
        return self._service.burned_s[request.chosen]


class ClosedLoop:
    """Users as Locust has them: each sends its next request after the answer and a pause.

    Their number follows `users_at(second)` once a second, for `duration_s`. One that is to go
    finishes the request that it has sent. `client_s` passes between an answer and the next request
    even without a pause. Each user has a random sequence of its own, as in loadtests/locustfile.py.
    """

    def __init__(
        self,
        users_at: Callable[[float], int],
        duration_s: float,
        think_s: float,
        service: Service,
        seed: str,
        client_s: float,
    ) -> None:
        self._users_at = users_at
        self._duration_s = duration_s
        self._pause_s = think_s + client_s
        self._service = service
        self._seed = seed
        self._numbers = count()
        self._present: dict[int, Random] = {}
        self._clock: Clock
        self._send: Callable[[Request], None]

    def incoming(self) -> Iterator[Request]:
        return iter(())

    def begin(self, clock: Clock, send: Callable[[Request], None]) -> None:
        self._clock, self._send = clock, send
        clock.after(0.0, self._adjust, clock.now_s)

    def _adjust(self, began_s: float) -> None:
        at_s = self._clock.now_s - began_s
        over = at_s >= self._duration_s
        wanted = 0 if over else self._users_at(at_s)
        while len(self._present) > wanted:
            self._present.popitem()
        while len(self._present) < wanted:
            number = next(self._numbers)
            self._present[number] = Random(f"{self._seed}-{number}")
            self._request(number)
        if not over:
            self._clock.after(min(USERS_EVERY_S, self._duration_s - at_s), self._adjust, began_s)

    def _request(self, user: int) -> None:
        random = self._present.get(user)
        if random is not None:
            chosen, service_s = self._service.draw(random)
            self._send(Request(self._clock.now_s, service_s, chosen, user))

    def burned_s(self, request: Request) -> float:
        return self._service.burned_s[request.chosen]

    def ended(self, user: int) -> None:
        if user in self._present:
            self._clock.after(self._pause_s, self._request, user)
