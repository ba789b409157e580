"""Actions under way, with the steps, deadlines and errors of lab.worlds.live.

An action is a generator: it yields when its step will have ended and goes on from there, so it
reads like the thread that it stands for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from lab.core.model import Action, Outcome, Verb
from lab.core.phases import Container, Gate
from lab.errors import LabError
from lab.worlds.sim.clock import Clock
from lab.worlds.sim.containers import Containers
from lab.worlds.sim.faults import Faults
from lab.worlds.sim.gates import Balancer
from lab.worlds.sim.parameters import Parameters

PROBE_EVERY_S = 0.5
"""Of an application of which it is not known when it will answer."""

Steps = Generator[float, None, None]


class CalledOff(Exception):
    """The action is no longer wanted."""


@dataclass(slots=True)
class Job:
    action: Action
    deadline_s: float
    before: Job | None
    """What was under way on the slot when this was asked for; it ends first."""
    began_s: float = 0.0
    called_off: bool = False
    ended: bool = False
    steps: list[tuple[str, float]] = field(default_factory=list)
    step: str = ""
    run: Steps | None = None
    wakes: int = 0
    """Grows with each event that is to wake it: all but the last are void."""
    then: Callable[[], None] | None = None
    """What to do once it ended."""


@dataclass(frozen=True, slots=True)
class Blame:
    why: str
    at_s: float


class Jobs:
    def __init__(
        self,
        clock: Clock,
        parameters: Parameters,
        containers: Containers,
        balancer: Balancer,
        faults: Faults,
        on_change: Callable[[int], None],
    ) -> None:
        self._clock = clock
        self._parameters = parameters
        self._containers = containers
        self._balancer = balancer
        self._faults = faults
        self._on_change = on_change
        self.under_way: dict[int, Job] = {}
        self.blamed: dict[int, Blame] = {}
        """Why the last action on a slot failed."""
        self._ended: list[Outcome] = []
        self._waiting: deque[Job] = deque()
        self._running = 0
        self._heavy = 0
        self._closed = False

    def apply(self, actions: tuple[Action, ...]) -> None:
        parameters = self._parameters
        called_off = []
        for action in actions:
            before = self.under_way.get(action.slot)
            self._count(before, -1)
            serves = action.verb is Verb.SERVE
            allowed_s = parameters.boot_deadline_s if serves else parameters.stop_deadline_s
            job = Job(action, self._clock.now_s + allowed_s, before)
            self.under_way[action.slot] = job
            self._count(job, +1)
            self._waiting.append(job)
            self._on_change(action.slot)
            if before is not None:
                called_off.append(before)
        for before in called_off:
            self._call_off(before)
        self._begin_more()

    def outcomes(self) -> tuple[Outcome, ...]:
        ended, self._ended = self._ended, []
        return tuple(ended)

    def close(self) -> None:
        """Call off everything; steps under way run to their end."""
        self._closed = True
        self._waiting.clear()
        for job in list(self.under_way.values()):
            self._call_off(job)

    def _count(self, job: Job | None, change: int) -> None:
        """Keep count of the actions that need the host's CPUs."""
        if job is not None and job.action.verb is not Verb.DRAIN:
            self._heavy += change
            self._containers.busy = min(self._heavy, self._parameters.parallel)

    # A job's life

    def _call_off(self, job: Job) -> None:
        job.called_off = True
        if job.step == "ready" and job.run is not None and not job.ended:
            job.wakes += 1
            self._go_on(job, lambda run: run.throw(CalledOff()))

    def _begin_more(self) -> None:
        while self._waiting and self._running < self._parameters.parallel:
            job = self._waiting.popleft()
            self._running += 1
            job.began_s = self._clock.now_s
            job.run = self._PERFORM[job.action.verb](self, job)
            if job.before is None or job.before.ended:
                self._go_on(job, next)
            else:
                job.before.then = lambda job=job: self._go_on(job, next)

    def _go_on(self, job: Job, how: Callable[[Steps], float]) -> None:
        assert job.run is not None
        error = ""
        try:
            until_s = how(job.run)
        except StopIteration:
            pass
        except CalledOff:
            error = "called off"
        except LabError as failure:
            error = str(failure)
        else:
            job.wakes += 1
            self._clock.at(until_s, self._wake, (job, job.wakes))
            return
        self._finish(job, error)

    def _wake(self, waking: tuple[Job, int]) -> None:
        job, number = waking
        if number == job.wakes:
            self._go_on(job, next)

    def _finish(self, job: Job, error: str) -> None:
        slot = job.action.slot
        job.ended = True
        job.before = None
        took_s = round(self._clock.now_s - job.began_s, 4)
        self._ended.append(Outcome(job.action, took_s, error, tuple(job.steps)))
        if error and not job.called_off:
            self.blamed[slot] = Blame(error, self._clock.now_s)
        else:
            self.blamed.pop(slot, None)
        if self.under_way.get(slot) is job:
            del self.under_way[slot]
            self._count(job, -1)
        self._running -= 1
        self._on_change(slot)
        if self._closed:
            return
        if job.then is not None:
            job.then()
        self._begin_more()

    # Steps

    @contextmanager
    def _doing(self, job: Job, step: str) -> Iterator[None]:
        if job.called_off:
            raise CalledOff
        began_s = self._clock.now_s
        job.step = step
        self._on_change(job.action.slot)
        try:
            yield
        finally:
            job.steps.append((step, round(self._clock.now_s - began_s, 4)))

    def _takes(self, job: Job, median_s: float, outliers: bool = False) -> Steps:
        """Wait for the end of a step; it fails if it is to fail, or is not over in time."""
        now_s = self._clock.now_s
        failure = self._faults.failure(job.action, job.step, now_s)
        until_s = now_s + self._containers.duration_s(job.action.slot, median_s, outliers)
        last_s = max(job.deadline_s, now_s + 0.1)
        yield min(until_s, last_s)
        if failure:
            raise LabError(failure)
        if until_s > last_s:
            raise LabError(f"{job.step} did not end in time")

    def _known(self, slot: int) -> Container:
        if "lxd" in self._faults.missing(self._clock.now_s):
            raise LabError("LXD does not answer")
        return self._containers.known[slot]

    # Verbs

    def _serve(self, job: Job) -> Steps:
        slot, parameters, containers = job.action.slot, self._parameters, self._containers
        container = self._known(slot)
        if container is Container.ABSENT:
            with self._doing(job, "create"):
                yield from self._takes(job, parameters.create_s)
                containers.create(slot)
        if container is not Container.RUNNING:
            with self._doing(job, "start"):
                frozen = container is Container.FROZEN
                start_s = parameters.thaw_s if frozen else parameters.start_s
                yield from self._takes(job, start_s, outliers=True)
                containers.start(slot)
        with self._doing(job, "ready"):
            yield from self._ready(job)
        with self._doing(job, "join"):
            yield from self._takes(job, parameters.join_s)
            self._balancer.open(slot)

    def _ready(self, job: Job) -> Steps:
        slot, answers_at_s = job.action.slot, self._containers.answers_at_s
        yield from self._takes(job, self._parameters.probe_s)
        while answers_at_s[slot] > self._clock.now_s:
            if self._clock.now_s >= job.deadline_s:
                raise LabError(f"did not answer within {self._parameters.boot_deadline_s:g} s")
            # It may die, hang or recover in the meantime, so this is asked again.
            again_s = min(self._clock.now_s + PROBE_EVERY_S, answers_at_s[slot])
            yield min(again_s, job.deadline_s)

    def _drain(self, job: Job) -> Steps:
        with self._doing(job, "drain"):
            yield from self._takes(job, self._parameters.drain_s)
            self._balancer.drain(job.action.slot)

    def _park(self, job: Job) -> Steps:
        slot = job.action.slot
        if self._balancer.gate(slot) is Gate.OPEN:
            # It joined before it could be called off: the next decision drains it.
            raise CalledOff
        yield from self._shut(job)
        if self._known(slot) in (Container.RUNNING, Container.FROZEN):
            with self._doing(job, "stop"):
                yield from self._takes(job, self._parameters.stop_s, outliers=True)
                self._containers.stop(slot)

    def _remove(self, job: Job) -> Steps:
        yield from self._shut(job)
        with self._doing(job, "delete"):
            slot, parameters = job.action.slot, self._parameters
            up = self._known(slot) in (Container.RUNNING, Container.FROZEN)
            yield from self._takes(job, parameters.delete_s + (parameters.stop_s if up else 0.0))
            self._containers.delete(slot)

    def _shut(self, job: Job) -> Steps:
        with self._doing(job, "shut"):
            yield from self._takes(job, self._parameters.shut_s)
            cut = self._balancer.shut(job.action.slot)
        if cut:
            job.steps[-1] = (f"shut, {cut} requests cut", job.steps[-1][1])

    _PERFORM: ClassVar = {
        Verb.SERVE: _serve,
        Verb.DRAIN: _drain,
        Verb.PARK: _park,
        Verb.REMOVE: _remove,
    }
