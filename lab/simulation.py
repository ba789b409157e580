"""A scenario in the simulator: the trace, result and verdict of a run that took no time.

Everything is decided by the same loop as on real servers, and the run's folder is the same. Times
in the trace are virtual, so the same scenario, brain, parameters and seed give the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

from lab import loop
from lab.core.decide import Brain
from lab.core.model import Memory, Observation, Operator
from lab.load.arrivals import even, poisson
from lab.load.measures import MOVING, RUNNING, Sample, demand_servers
from lab.load.rates import RateShape
from lab.load.recorder import percentile_ms
from lab.load.scenario import Scenario
from lab.load.session import make_folder
from lab.load.tool import LoadResult
from lab.load.verdict import Verdict, judge_samples, nothing_left_to_see
from lab.loop import Tick
from lab.core.model import Phase
from lab.trace import to_line
from lab.worlds.sim.coarse import Fluid, RateDemand, UserDemand
from lab.worlds.sim.faults import Fault
from lab.worlds.sim.gates import Balancer
from lab.worlds.sim.parameters import Parameters
from lab.worlds.sim.plant import Plant
from lab.worlds.sim.queueing import Queueing
from lab.worlds.sim.service import Service, Work, service_times
from lab.worlds.sim.traffic import ClosedLoop, OpenLoop, Traffic
from lab.worlds.sim.world import SimWorld

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""When simulated runs begin, unless they are told."""
NOBODY = Operator()
LOOK_EVERY_S = 1.0
"""How often a run that settles is asked whether there is anything left to see."""


@dataclass
class Simulation:
    """One run. `ticks` runs it and hands out each tick; `result` and `verdict` are for after it.

    At the beginning `serving` servers serve (None: the brain's minimum) and `stopped` clones stand
    ready. `coarse` takes the model without single requests, for long days and many servers.
    """

    scenario: Scenario
    brain: Brain
    parameters: Parameters = Parameters()
    seed: int = 1
    interval_s: float = 0.25
    faults: tuple[Fault, ...] = ()
    serving: int | None = None
    stopped: int = 0
    coarse: bool = False
    operator: Callable[[float], Operator] = lambda at_s: NOBODY
    """What a person asks for at a moment of the run."""
    started_at: datetime = EPOCH
    samples: list[Sample] = field(default_factory=list, init=False)
    """What the measures need of each tick so far."""

    def __post_init__(self) -> None:
        self._policy: str | None = None
        serving = self.brain.limits.min if self.serving is None else self.serving
        make = self._make_fluid if self.coarse else self._make_queueing
        self.plant: Plant[Balancer] = Plant(
            self.parameters, make, str(self.seed), self.faults, serving, self.stopped
        )
        self.world = SimWorld(self.plant, "sim-coarse" if self.coarse else "sim")

    def ticks(self) -> Iterator[Tick]:
        """Run to the end. No tick is kept."""
        memory, number, due_s = Memory(), 0, 0.0
        look_s = self.scenario.duration_s
        while due_s <= self.scenario.duration_s + self.scenario.settle_s:
            self.world.sleep_until(due_s)
            done, memory = loop.tick(
                self.world, self.brain, memory, self.operator(due_s), number
            )
            at = self.started_at + timedelta(seconds=due_s)
            done = replace(done, at=at, took_ms=0.0)
            self._keep(done)
            yield done
            if due_s >= look_s:
                look_s += LOOK_EVERY_S
                if nothing_left_to_see(self.scenario.expect, self.samples):
                    break
            number += 1
            due_s = number * self.interval_s
        self.world.close()

    def lines(self) -> Iterator[str]:
        """Run to the end: the trace, line by line."""
        return map(line_of, self.ticks())

    def finish(self) -> Verdict:
        """Run to the end without writing anything."""
        for _ in self.ticks():
            pass
        return self.verdict()

    def result(self) -> LoadResult:
        """What the clients saw."""
        times = self.plant.balancer.requests_by_ms()
        requests, failures = times.total(), self.plant.balancer.failures
        return LoadResult(
            requests=requests,
            failed=failures.total(),
            p50_ms=percentile_ms(times, 50),
            p95_ms=percentile_ms(times, 95),
            p99_ms=percentile_ms(times, 99),
            started_at=self.started_at,
            failures=dict(failures),
            requests_per_s=round(requests / self.scenario.duration_s, 2),
        )

    def verdict(self) -> Verdict:
        return judge_samples(
            self.scenario.name,
            self.scenario.expect,
            self.world.name,
            self.samples,
            self._policy,
            self.result(),
        )

    def _keep(self, tick: Tick) -> None:
        self._policy = tick.policy
        if self.samples:
            last = self.samples[-1]
            self.samples[-1] = replace(last, for_s=tick.observation.at_s - last.t_s)
        self.samples.append(sample_of(tick, self.parameters.workers))
