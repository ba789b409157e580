"""Requests in HAProxy as haproxy.cfg.j2 configures it: least connections, one queue, retries.

What it does in corners was tried on HAProxy 2.6.12 over local processes: see the comments.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from random import Random

from lab.core.model import Metrics
from lab.worlds.sim.clock import Clock, Event
from lab.worlds.sim.gates import Answering, Balancer
from lab.worlds.sim.parameters import Parameters
from lab.worlds.sim.requestlog import Gauges, RequestLog
from lab.worlds.sim.room import Room
from lab.worlds.sim.traffic import Request, Traffic

REFUSED_AFTER_S = 0.0003
"""A connection to a container that does not run is refused that soon."""


class Queueing(Balancer):
    """The balancer with every single request."""

    def __init__(
        self, clock: Clock, parameters: Parameters, traffic: Traffic, random: Random
    ) -> None:
        super().__init__(clock, parameters, random)
        self._traffic = traffic
        slots = parameters.slots + 1
        self._served = [0] * slots
        self._epoch = [0] * slots
        """Grows when what is in flight at a server takes another course: older events are void."""
        self._room = Room(parameters.workers)
        self._queue: deque[tuple[float, Request, int]] = deque()
        """(when it times out, request, slot to avoid), first come first served."""
        self._watches_queue = False
        self.in_flight = 0
        self.waiting_to_retry = 0
        self.arrived = 0
        self.answered = 0
        self.errors = 0
        """Answers with status 500 and above."""
        self.retried = 0
        self._failures: Counter[str] = Counter()
        self.log = RequestLog()
        self._burned_s = [0.0] * slots
        self._counts_cpu = parameters.cpu_metrics
        self._incoming: Iterator[Request] = traffic.incoming()
        self._next = next(self._incoming, None)
        traffic.begin(clock, self.send)

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def failures(self) -> Counter[str]:
        return self._failures

    @property
    def failed(self) -> int:
        return self._failures.total()

    def requests_by_ms(self) -> Counter[int]:
        return self.log.requests_by_ms

    def sessions(self) -> Sequence[int]:
        return self._served

    def burned_s(self) -> Sequence[float]:
        return self._burned_s

    def gauges(self) -> Callable[[float], Metrics]:
        parameters = self._parameters
        gauges = Gauges(self.log, parameters.log_window_s, parameters.rate_window_s)
        return lambda now_s: gauges.metrics(
            now_s, self.in_flight, self.queued, self.arrived, self.errors
        )

    def run(self, until_s: float) -> None:
        clock, events = self._clock, self._clock.events
        finish, dispatch = self._finish, self._dispatch
        request = self._next
        while True:
            event_s = events[0][0]
            if request is not None and request[0] <= event_s:
                if request[0] > until_s:
                    break
                clock.now_s = request[0]
                self.arrived += 1
                dispatch(request)
                request = next(self._incoming, None)
            elif event_s > until_s:
                break
            else:
                event = heappop(events)
                clock.now_s = event_s
                if event[2]:
                    finish(event)
                else:
                    event[3](event[4])
        self._next = request
        clock.now_s = until_s

    def send(self, request: Request) -> None:
        """A new request."""
        self.arrived += 1
        self._dispatch(request)

    def _dispatch(self, request: Request, avoid: int = 0) -> None:
        # Newcomers queue behind others as long as something is in flight, whose end takes the next
        # one out of the queue. Otherwise HAProxy serves them at once.
        slot = 0 if self._queue and self.in_flight else self._room.first(avoid)
        if slot:
            self._give(slot, request)
        elif self._usable_count:
            self._enqueue(request, avoid)
        else:
            self._fail(request, "HTTP 503")

    def _give(self, slot: int, request: Request) -> None:
        busy = self._served[slot]
        self._served[slot] = busy + 1
        self.in_flight += 1
        self._room.move(slot, busy, busy + 1)
        if self._answering[slot]:
            self._give_in_vain(slot, request)
            return
        clock = self._clock
        heappush(
            clock.events,
            (clock.now_s + request[1], next(clock.numbers), slot, self._epoch[slot], request),
        )

    def _finish(self, event: Event) -> None:
        """A server's answer is due."""
        at_s, _, slot, epoch, request = event
        if epoch != self._epoch[slot]:
            return
        self.answered += 1
        self.log.add(at_s, at_s - request[0], request[1])
        if self._counts_cpu:
            self._burned_s[slot] += self._traffic.burned_s(request)
        self._leave(slot)
        if request[3] is not None:
            self._traffic.ended(request[3])

    def _leave(self, slot: int) -> None:
        """A server has one request less, and takes waiting ones as far as it has room."""
        busy = self._served[slot]
        self._served[slot] = busy - 1
        self.in_flight -= 1
        if self._usable[slot]:
            self._room.move(slot, busy, busy - 1)
            if self._queue:
                self._fill(slot)

    def _fill(self, slot: int) -> None:
        while self._queue and self._usable[slot] and self._served[slot] < self._parameters.workers:
            self._give(slot, self._queue.popleft()[1])

    def _fail(self, request: Request, kind: str) -> None:
        now_s = self._clock.now_s
        self._failures[kind] += 1
        self.errors += 1
        self.log.add(now_s, now_s - request.arrived_s, -1)
        if request.user is not None:
            self._traffic.ended(request.user)

    # The queue

    def _enqueue(self, request: Request, avoid: int) -> None:
        limit = self._parameters.max_queue
        if limit is not None and len(self._queue) >= limit:
            self._fail(request, "HTTP 503")
            return
        times_out_s = self._clock.now_s + self._parameters.queue_timeout_s
        self._queue.append((times_out_s, request, avoid))
        if not self._watches_queue:
            self._watches_queue = True
            self._clock.at(times_out_s, self._time_out)

    def _time_out(self, _: None) -> None:
        """Requests that waited too long get a 503; those behind them have waited less."""
        while self._queue and self._queue[0][0] <= self._clock.now_s:
            self._fail(self._queue.popleft()[1], "HTTP 503")
        self._watches_queue = bool(self._queue)
        if self._queue:
            self._clock.at(self._queue[0][0], self._time_out)

    # Servers that do not answer

    def _give_in_vain(self, slot: int, request: Request) -> None:
        refused = self._answering[slot] is Answering.REFUSED
        after_s = REFUSED_AFTER_S if refused else self._parameters.server_timeout_s
        undone = (slot, self._epoch[slot], request, request.service_s)
        self._clock.after(after_s, self._unanswered, undone)

    def _unanswered(self, undone: tuple[int, int, Request, float]) -> None:
        slot, epoch, request, _ = undone
        if epoch == self._epoch[slot]:
            refused = self._answering[slot] is Answering.REFUSED
            self._leave(slot)
            self._retry(request, slot, "HTTP 503" if refused else "HTTP 504", refused)

    def _retry(self, request: Request, slot: int, kind: str, refused: bool = False) -> None:
        """Send it to another server, at once or, if there is none to turn to, a second later.

        A server that refuses is tried again when no other has room: with all others full, one dead
        server makes requests fail until its health checks take it out. [HAProxy 2.6.12]
        """
        if request.retries >= self._parameters.retries:
            self._fail(request, kind)
            return
        self.retried += 1
        again = request._replace(retries=request.retries + 1)
        if refused and self._usable_count <= 1:
            self.waiting_to_retry += 1
            self._clock.after(self._parameters.retry_delay_s, self._retry_now, (again, slot))
        else:
            self._dispatch(again, slot)

    def _retry_now(self, waiting: tuple[Request, int]) -> None:
        self.waiting_to_retry -= 1
        self._dispatch(*waiting)

    def _lose(self, slot: int) -> int:
        lost = self._take_back(slot)
        for request, _, _ in lost:
            self._leave(slot)
            self._retry(request, slot, "HTTP 503")
        return len(lost)

    def _now_answers(self, slot: int, answering: Answering) -> None:
        in_flight = self._take_back(slot)
        self._answering[slot] = answering
        clock, epoch = self._clock, self._epoch[slot]
        for request, sent_s, left_s in in_flight:
            if answering is Answering.FINE:
                due = (clock.now_s + left_s, next(clock.numbers), slot, epoch, request)
                heappush(clock.events, due)
            else:
                times_out_s = max(clock.now_s, sent_s + self._parameters.server_timeout_s)
                clock.at(times_out_s, self._unanswered, (slot, epoch, request, left_s))

    def _joins(self, slot: int) -> None:
        self._room.add(slot, self._served[slot])

    def _leaves(self, slot: int) -> None:
        self._room.remove(slot, self._served[slot])

    def _take_back(self, slot: int) -> list[tuple[Request, float, float]]:
        """What is in flight at a server: request, when it was sent there, and what is left of it.

        Its events become void; it still counts as served there.
        """
        mine = []
        for at_s, number, of_slot, what, argument in self._clock.events:
            if of_slot == slot and what == self._epoch[slot]:
                sent_s = at_s - argument.service_s
                mine.append((number, argument, sent_s, at_s - self._clock.now_s))
            elif what == self._unanswered and argument[:2] == (slot, self._epoch[slot]):
                _, _, request, left_s = argument
                sent_s = at_s - self._parameters.server_timeout_s
                mine.append((number, request, sent_s, left_s))
        self._epoch[slot] += 1
        return [(request, sent_s, left_s) for _, request, sent_s, left_s in sorted(mine)]
