"""A world of real parts: a fleet of containers (or processes) behind a balancer.

Each action runs in a thread of its own, so a slow one holds up neither the loop nor another slot.
An action has a deadline and can be called off between two of its steps. Nothing is remembered
but what the fleet and the balancer cannot say: the actions under way and why the last one failed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from lab.core.model import (
    Action,
    Metrics,
    Observation,
    Operator,
    Outcome,
    Phase,
    Slot,
    Verb,
)
from lab.core.phases import Container, Gate, phase_of
from lab.errors import LabError
from lab.rate import Rate
from lab.worlds.base import Balancer, Fleet, ServerState, Usage

PROBE_EVERY_S = 0.01
RETRY_AFTER_S = 5.0
STOP_DEADLINE_S = 60.0
CPU_WINDOW_S = 2.0
MAX_PARALLEL = 32

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deadlines:
    """Seconds."""

    boot_s: float
    unhealthy_s: float


class CalledOff(Exception):
    """The action is no longer wanted."""


@dataclass
class Job:
    """An action under way."""

    action: Action
    deadline_s: float
    called_off: threading.Event = field(default_factory=threading.Event)
    steps: list[tuple[str, float]] = field(default_factory=list)
    step: str = ""

    @contextmanager
    def doing(self, step: str) -> Iterator[float]:
        """Time a step; yields the seconds that are left for it."""
        if self.called_off.is_set():
            raise CalledOff
        began = time.monotonic()
        self.step = step
        try:
            yield max(0.1, self.deadline_s - began)
        finally:
            self.steps.append((step, round(time.monotonic() - began, 4)))


@dataclass(frozen=True)
class ServerLimits:
    """What one clone may use; None: as much as there is."""

    cpus: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Fault:
    why: str
    at_s: float


class LiveWorld:
    """Implements `lab.worlds.base.World`."""

    def __init__(
        self,
        name: str,
        fleet: Fleet,
        balancer: Balancer,
        slots: int,
        deadlines: Deadlines,
        limits: ServerLimits | None = None,
    ) -> None:
        self._name = name
        self._fleet = fleet
        self._balancer = balancer
        self._deadlines = deadlines
        self._limits = limits or ServerLimits()
        self._cpu_rates: dict[int, Rate] = {}
        self._numbers = range(1, slots + 1)
        self._slots = tuple(Slot(number, Phase.EMPTY) for number in self._numbers)
        self._phase_since: dict[int, tuple[Phase, float]] = {}
        self._lock = threading.Lock()
        self._jobs: dict[int, tuple[Job, Future[None]]] = {}
        self._faults: dict[int, Fault] = {}
        self._ended: list[Outcome] = []
        self._perform_by_verb = {
            Verb.SERVE: self._serve,
            Verb.DRAIN: self._drain,
            Verb.PARK: self._park,
            Verb.REMOVE: self._remove,
        }
        self._pool = ThreadPoolExecutor(min(slots, MAX_PARALLEL), thread_name_prefix="slot")

    @property
    def name(self) -> str:
        return self._name

    def now_s(self) -> float:
        return time.monotonic()

    def sleep_until(self, at_s: float) -> None:
        time.sleep(max(0.0, at_s - time.monotonic()))

    def observe(self, operator: Operator) -> Observation:
        now_s = self.now_s()
        # Before the fleet is asked: an action that ends in between is seen as still under way.
        with self._lock:
            jobs = {number: job for number, (job, _) in self._jobs.items()}
            faults = dict(self._faults)
        containers = self._fleet.containers()
        servers = self._balancer.servers()
        if containers is None or servers is None:
            who = "LXD" if containers is None else "HAProxy"
            unknown = f"{who} does not answer"
            return Observation(now_s, self._slots, Metrics(), operator, unknown)
        usage = self._fleet.usage()
        self._slots = tuple(
            replace(
                self._slot(number, containers[number], servers[number], jobs, faults, now_s),
                cpus=self._cpus(number, usage.get(number), now_s),
                memory_bytes=usage[number].memory_bytes if number in usage else None,
            )
            for number in self._numbers
        )
        metrics = self._balancer.metrics()
        return Observation(now_s, self._slots, metrics, operator, utc_s=time.time())

    def _cpus(self, number: int, usage: Usage | None, now_s: float) -> float | None:
        """CPU seconds a second; None where nothing runs, and at the first reading."""
        if usage is None:
            self._cpu_rates.pop(number, None)
            return None
        rate = self._cpu_rates.setdefault(number, Rate(CPU_WINDOW_S))
        cpus = rate.add(now_s, usage.cpu_s)
        return None if cpus is None else round(cpus, 4)

    def _slot(
        self,
        number: int,
        container: Container,
        server: ServerState,
        jobs: dict[int, Job],
        faults: dict[int, Fault],
        now_s: float,
    ) -> Slot:
        phase, fault = self._judge(container, server, jobs.get(number), faults.get(number), now_s)
        if self._phase_since.get(number, (None, 0.0))[0] is not phase:
            self._phase_since[number] = (phase, now_s)
        return Slot(
            number,
            phase,
            round(now_s - self._phase_since[number][1], 3),
            server.sessions,
            server.queued,
            jobs[number].action.verb if number in jobs else None,
            fault,
            cpus_limit=self._limits.cpus,
            memory_limit_bytes=self._limits.memory_bytes,
        )

    def _judge(
        self,
        container: Container,
        server: ServerState,
        job: Job | None,
        fault: Fault | None,
        now_s: float,
    ) -> tuple[Phase, str]:
        phase = phase_of(container, server.gate)
        if job is not None:
            joining = phase is Phase.BOOTING and job.step == "join"
            return (Phase.JOINING if joining else phase), ""
        if phase is Phase.BROKEN:
            return phase, f"container {container}, server {server.gate}"
        if server.gate is Gate.DOWN and server.gate_for_s > self._deadlines.unhealthy_s:
            return Phase.BROKEN, f"failed its health checks for {server.gate_for_s:.0f} s"
        if fault is None or phase in (Phase.SERVING, Phase.DRAINING):
            return phase, ""
        if phase is Phase.EMPTY:
            return phase, fault.why if now_s - fault.at_s < RETRY_AFTER_S else ""
        return Phase.BROKEN, fault.why

    def apply(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            with self._lock:
                before = self._jobs.get(action.slot)
                if before is not None:
                    before[0].called_off.set()
                allowed_s = self._deadlines.boot_s if action.verb is Verb.SERVE else STOP_DEADLINE_S
                job = Job(action, self.now_s() + allowed_s)
                future = self._pool.submit(self._perform, job, before and before[1])
                self._jobs[action.slot] = (job, future)

    def outcomes(self) -> tuple[Outcome, ...]:
        with self._lock:
            ended, self._ended = self._ended, []
        return tuple(ended)

    def close(self) -> None:
        """Call off what has not happened yet and wait for the steps that are under way."""
        with self._lock:
            for job, _ in self._jobs.values():
                job.called_off.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._fleet.close()
        self._balancer.close()

    def _perform(self, job: Job, before: Future[None] | None) -> None:
        began_s = self.now_s()
        error = ""
        try:
            if before is not None:
                before.result()
            self._perform_by_verb[job.action.verb](job)
        except CalledOff:
            error = "called off"
        except LabError as failure:
            error = str(failure)
        except Exception as failure:  # a bug must not look like an action that never ends
            log.exception("%s", job.action)
            error = f"{type(failure).__name__}: {failure}"
        outcome = Outcome(job.action, round(self.now_s() - began_s, 4), error, tuple(job.steps))
        self._finish(job, outcome)

    def _finish(self, job: Job, outcome: Outcome) -> None:
        slot = job.action.slot
        with self._lock:
            self._ended.append(outcome)
            if outcome.error and not job.called_off.is_set():
                self._faults[slot] = Fault(outcome.error, self.now_s())
            else:
                self._faults.pop(slot, None)
            if slot in self._jobs and self._jobs[slot][0] is job:
                del self._jobs[slot]

    def _serve(self, job: Job) -> None:
        slot = job.action.slot
        container = self._known(slot)
        if container is Container.ABSENT:
            with job.doing("create") as left_s:
                self._fleet.create(slot, left_s)
        if container is not Container.RUNNING:
            with job.doing("start") as left_s:
                self._fleet.start(slot, left_s)
        with job.doing("ready"):
            self._wait_until_ready(slot, job)
        with job.doing("join"):
            self._balancer.open(slot)

    def _known(self, slot: int) -> Container:
        containers = self._fleet.containers()
        if containers is None:
            raise LabError("LXD does not answer")
        return containers[slot]

    def _wait_until_ready(self, slot: int, job: Job) -> None:
        while not self._fleet.answers(slot):
            if job.called_off.wait(PROBE_EVERY_S):
                raise CalledOff
            if self.now_s() > job.deadline_s:
                raise LabError(f"did not answer within {self._deadlines.boot_s:g} s")

    def _drain(self, job: Job) -> None:
        with job.doing("drain"):
            self._balancer.drain(job.action.slot)

    def _park(self, job: Job) -> None:
        if self._balancer.gate(job.action.slot) is Gate.OPEN:
            # It joined before it could be called off: the next decision drains it.
            raise CalledOff
        self._shut(job)
        if self._known(job.action.slot) in (Container.RUNNING, Container.FROZEN):
            with job.doing("stop") as left_s:
                self._fleet.stop(job.action.slot, left_s)

    def _remove(self, job: Job) -> None:
        self._shut(job)
        with job.doing("delete") as left_s:
            self._fleet.delete(job.action.slot, left_s)

    def _shut(self, job: Job) -> None:
        with job.doing("shut"):
            cut = self._balancer.shut(job.action.slot)
        if cut:
            job.steps[-1] = (f"shut, {cut} requests cut", job.steps[-1][1])
