"""The scaler's side of the simulator: what it observes, and what it can do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lab.core.model import Action, Metrics, Observation, Operator, Outcome, Phase, Slot
from lab.core.phases import Container, Gate, phase_of
from lab.worlds.sim.drafts import make_slot
from lab.worlds.sim.faults import NAMES
from lab.worlds.sim.jobs import Jobs
from lab.worlds.sim.plant import Plant

CLOSE_STEP_S = 0.1


class SimWorld:
    """Implements `lab.worlds.base.World` on a virtual clock.

    A second one on the same plant is a scaler that was started anew.
    """

    def __init__(self, plant: Plant[Any], name: str = "sim", began_utc_s: float = 0.0) -> None:
        """`began_utc_s`: seconds since the epoch at 0 s, for policies that follow the calendar."""
        self.plant = plant
        self._name = name
        self._began_utc_s = began_utc_s
        parameters = plant.parameters
        self._clock, self._balancer = plant.clock, plant.balancer
        self._containers = plant.containers
        self._metrics = plant.balancer.gauges()
        self._numbers = range(1, parameters.slots + 1)
        self._phases = [Phase.EMPTY] * (parameters.slots + 1)
        self._faults = [""] * (parameters.slots + 1)
        self._since_s = [0.0] * (parameters.slots + 1)
        self._stale = set(self._numbers)
        """Slots that have to be judged anew: something in them changed, or depends on time."""
        mark = self._stale.add
        plant.balancer.on_change = plant.containers.on_change = mark
        self._jobs = Jobs(
            plant.clock, parameters, plant.containers, plant.balancer, plant.faults, mark
        )
        self._slots = tuple(Slot(number, Phase.EMPTY) for number in self._numbers)
        self._burned = (0.0, [0.0] * (parameters.slots + 1))
        self._no_cpus: list[float | None] = [None] * (parameters.slots + 1)

    @property
    def name(self) -> str:
        return self._name

    def now_s(self) -> float:
        return self._clock.now_s

    def sleep_until(self, at_s: float) -> None:
        if at_s > self._clock.now_s:
            self._balancer.run(at_s)

    def apply(self, actions: tuple[Action, ...]) -> None:
        if actions:
            self._jobs.apply(actions)

    def outcomes(self) -> tuple[Outcome, ...]:
        return self._jobs.outcomes()

    def close(self) -> None:
        self._jobs.close()
        while self._jobs.under_way:
            self.sleep_until(self._clock.now_s + CLOSE_STEP_S)

    def observe(self, operator: Operator) -> Observation:
        now_s = self._clock.now_s
        utc_s, missing = self._began_utc_s + now_s, self.plant.faults.missing(now_s)
        for what in NAMES:
            if what in missing:
                unknown = f"{NAMES[what]} does not answer"
                return Observation(now_s, self._slots, Metrics(), operator, unknown, utc_s)
        self._judge_stale(now_s)
        self._slots = self._seen_slots(now_s)
        metrics = self._metrics(now_s)
        if "metrics" in missing:
            metrics = Metrics()
        elif "log" in missing:
            metrics = replace(
                metrics, p50_ms=None, p95_ms=None, p99_ms=None, total_ms=None, answer_ms=None
            )
        return Observation(now_s, self._slots, metrics, operator, "", utc_s)

    def _seen_slots(self, now_s: float) -> tuple[Slot, ...]:
        phases, faults, since_s = self._phases, self._faults, self._since_s
        under_way, served = self._jobs.under_way, self._balancer.sessions()
        cpus, started_s = self._cpus(now_s), self._containers.started_s
        return tuple(
            [
                make_slot(
                    number,
                    phases[number],
                    round(now_s - since_s[number], 3),
                    served[number],
                    under_way[number].action.verb if number in under_way else None,
                    faults[number],
                    cpus[number],
                    None if (began_s := started_s[number]) is None else round(now_s - began_s, 3),
                )
                for number in self._numbers
            ]
        )

    def _cpus(self, now_s: float) -> list[float | None]:
        """CPU seconds that each clone used a second since the last observation."""
        before_s, before = self._burned
        elapsed_s = now_s - before_s
        if not self.plant.parameters.cpu_metrics or elapsed_s <= 0:
            return self._no_cpus
        now = self._balancer.burned_s()
        self._burned = (now_s, list(now))
        return [
            round((after - earlier) / elapsed_s, 4) if container is Container.RUNNING else None
            for earlier, after, container in zip(before, now, self._containers.known, strict=True)
        ]

    # Phases

    def _judge_stale(self, now_s: float) -> None:
        for slot in sorted(self._stale):
            phase, fault, may_change = self._judge(slot, now_s)
            if phase is not self._phases[slot]:
                self._since_s[slot] = now_s
            self._phases[slot], self._faults[slot] = phase, fault
            if not may_change:
                self._stale.discard(slot)

    def _judge(self, slot: int, now_s: float) -> tuple[Phase, str, bool]:
        """Phase and fault as lab.worlds.live has them, and whether time alone may change them."""
        container, gate = self._containers.known[slot], self._balancer.gate(slot)
        phase = phase_of(container, gate)
        job, blame = self._jobs.under_way.get(slot), self._jobs.blamed.get(slot)
        if job is not None:
            joining = phase is Phase.BOOTING and job.step == "join"
            return (Phase.JOINING if joining else phase), "", False
        if phase is Phase.BROKEN:
            return phase, f"container {container}, server {gate}", False
        if gate is Gate.DOWN:
            # HAProxy tells whole seconds.
            down_s = int(now_s - self._balancer.changed_s[slot])
            if down_s > self.plant.parameters.unhealthy_deadline_s:
                return Phase.BROKEN, f"failed its health checks for {down_s} s", True
        if blame is None or phase in (Phase.SERVING, Phase.DRAINING):
            return phase, "", gate is Gate.DOWN
        if phase is Phase.EMPTY:
            recent = now_s - blame.at_s < self.plant.parameters.retry_after_s
            return phase, blame.why if recent else "", recent
        return Phase.BROKEN, blame.why, False
