"""A scenario in the simulator: the trace, result and verdict of a run that took no time.

Everything is decided by the same loop as on real servers, and the run's folder is the same. Times
in the trace are virtual, so the same scenario, brain, parameters and seed give the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

from lab import loop
from lab.core.decide import Brain
from lab.core.model import Memory, Operator, Phase
from lab.load.arrivals import even, poisson
from lab.load.measures import MOVING, RUNNING, Sample, demand_servers
from lab.load.recorder import percentile_ms
from lab.load.scenario import Scenario
from lab.load.session import make_folder
from lab.load.shapes import RateShape
from lab.load.tool import LoadResult
from lab.load.verdict import Verdict, judge_samples, nothing_left_to_see
from lab.loop import Tick
from lab.trace import to_line
from lab.worlds.sim.clock import Clock
from lab.worlds.sim.coarse import Fluid
from lab.worlds.sim.faults import Fault
from lab.worlds.sim.flow import RateDemand, UserDemand
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
"""How often it is asked whether a run that settles has anything left to show."""


@dataclass(frozen=True)
class Setup:
    """What a run depends on besides its scenario and its brain."""

    parameters: Parameters = field(default_factory=Parameters)
    seed: int = 1
    interval_s: float = 0.25
    """From one tick to the next."""
    faults: tuple[Fault, ...] = ()
    serving: int | None = None
    """Servers that serve at the beginning; None: the brain's minimum."""
    frozen: int = 0
    """Clones that are warm then."""
    stopped: int = 0
    """Clones that stand ready then."""
    coarse: bool = False
    """The model without single requests, for long days and many servers."""
    operator: Callable[[float], Operator] = lambda at_s: NOBODY
    """What a person asks for at a moment of the run."""
    started_at: datetime = EPOCH


class Simulation:
    """One run: `ticks`, `lines` or `finish` runs it, once. `result` and `verdict` come after it."""

    def __init__(self, scenario: Scenario, brain: Brain, setup: Setup | None = None) -> None:
        self.setup = setup = setup or Setup()
        self.scenario = scenario
        self.brain = brain
        self.plant: Plant[Balancer] = Plant(
            setup.parameters,
            partial(_fluid if setup.coarse else _queueing, scenario, setup),
            str(setup.seed),
            setup.faults,
            serving=brain.limits.min if setup.serving is None else setup.serving,
            frozen=setup.frozen,
            stopped=setup.stopped,
        )
        name = "sim-coarse" if setup.coarse else "sim"
        self.world = SimWorld(self.plant, name, setup.started_at.timestamp())
        self._samples: list[Sample] = []
        self._last: Sample | None = None
        """Of the last tick. How long that one lasted is not known yet."""
        self._counted: tuple[list[Phase], int, int, int] = ([], 0, 0, 0)
        """The phases of all slots at the last tick; serving, running and moving ones among them."""

    def ticks(self) -> Iterator[Tick]:
        """Run to the end. (A tick's own `at` and `took_ms` are this computer's, not virtual.)"""
        scenario, interval_s = self.scenario, self.setup.interval_s
        memory, number, at_s, look_s = Memory(), 0, 0.0, scenario.duration_s
        while at_s <= scenario.duration_s + scenario.settle_s:
            self.world.sleep_until(at_s)
            operator = self.setup.operator(at_s)
            tick, memory = loop.tick(self.world, self.brain, memory, operator, number)
            self._keep(tick)
            yield tick
            if at_s >= look_s:
                look_s += LOOK_EVERY_S
                if nothing_left_to_see(scenario.expect, self.samples):
                    return
            number += 1
            at_s = number * interval_s

    def lines(self) -> Iterator[str]:
        """Run to the end: the trace, line by line."""
        return map(self.line, self.ticks())

    def finish(self) -> Verdict:
        """Run to the end without a trace."""
        for _ in self.ticks():
            pass
        return self.verdict()

    def line(self, tick: Tick) -> str:
        """The tick's line in the trace."""
        at = self.setup.started_at + timedelta(seconds=tick.observation.at_s)
        seen, decision = tick.observation, tick.decision
        return to_line(tick.number, at, tick.policy, seen, decision, tick.outcomes, 0.0)

    @property
    def samples(self) -> list[Sample]:
        """What the measures need of each tick so far."""
        return [*self._samples, self._last] if self._last else []

    def result(self) -> LoadResult:
        """What the clients saw."""
        balancer = self.plant.balancer
        times, failures = balancer.requests_by_ms(), balancer.failures
        return LoadResult(
            requests=times.total(),
            failed=failures.total(),
            p50_ms=percentile_ms(times, 50),
            p95_ms=percentile_ms(times, 95),
            p99_ms=percentile_ms(times, 99),
            started_at=self.setup.started_at,
            failures=dict(failures),
            requests_per_s=round(times.total() / self.scenario.duration_s, 2),
        )

    def verdict(self) -> Verdict:
        return judge_samples(
            self.scenario.name,
            self.scenario.expect,
            self.world.name,
            self.samples,
            self.brain.policy.name,
            self.result(),
        )

    def _keep(self, tick: Tick) -> None:
        seen = tick.observation
        if (last := self._last) is not None:
            self._samples.append(_lasting(last, seen.at_s - last.t_s))
        phases = [slot.phase for slot in seen.slots]
        if phases != self._counted[0]:
            running, moving = (sum(map(phases.count, group)) for group in (RUNNING, MOVING))
            self._counted = (phases, phases.count(Phase.SERVING), running, moving)
        _, serving, running, moving = self._counted
        in_flight, queued = seen.metrics.in_flight, seen.metrics.queued
        demand = demand_servers(in_flight, queued, self.setup.parameters.workers)
        wanted = tick.decision.wanted
        self._last = Sample(seen.at_s, 0.0, serving, wanted, running, moving, demand)


def _lasting(one: Sample, for_s: float) -> Sample:
    return Sample(one.t_s, for_s, one.serving, one.wanted, one.running, one.moving, one.demand)


def simulate(
    scenario: Scenario, brain: Brain, setup: Setup | None = None
) -> tuple[list[str], LoadResult]:
    """The trace's lines and what the clients saw."""
    simulation = Simulation(scenario, brain, setup)
    return list(simulation.lines()), simulation.result()


def simulate_into(
    runs_dir: Path,
    scenario: Scenario,
    brain: Brain,
    setup: Setup | None = None,
    on_tick: Callable[[Tick], None] = lambda tick: None,
    extra_files: Mapping[str, str] | None = None,
) -> tuple[Path, Verdict]:
    """Leave the same folder as a live run: trace, verdict, and a copy of the scenario."""
    folder = make_folder(runs_dir, scenario.name, extra_files)
    shutil.copyfile(scenario.path, folder / "scenario.toml")
    simulation = Simulation(scenario, brain, setup)
    with (folder / "trace.jsonl").open("w", encoding="utf-8") as trace:
        for tick in simulation.ticks():
            trace.write(simulation.line(tick) + "\n")
            on_tick(tick)
    verdict = simulation.verdict()
    verdict.write(folder)
    return folder, verdict


def _mix(scenario: Scenario) -> list[Work]:
    return [Work(request.path, request.weight) for request in scenario.requests.mix]


def _queueing(
    scenario: Scenario, setup: Setup, clock: Clock, parameters: Parameters, random: Random
) -> Queueing:
    service = Service(_mix(scenario), parameters, Random(f"{setup.seed}-service"))
    own = scenario.requests.seed
    traffic: Traffic
    if isinstance(scenario.load, RateShape):
        # Arrivals depend on the seeds alone, so that every policy gets the same ones.
        gaps = even()
        if scenario.load.arrivals == "poisson":
            gaps = poisson(Random(f"{own}-{setup.seed}-arrivals"))
        order = Random(f"{own}-{setup.seed}-mix")
        traffic = OpenLoop(scenario.load.curve.times_s(gaps), service, order)
    else:
        traffic = ClosedLoop(
            scenario.users_at,
            scenario.duration_s,
            scenario.requests.think_s,
            service,
            str(own),
            parameters.client_s,
        )
    return Queueing(clock, parameters, traffic, random)


def _fluid(
    scenario: Scenario, setup: Setup, clock: Clock, parameters: Parameters, random: Random
) -> Fluid:
    demand: RateDemand | UserDemand
    if isinstance(scenario.load, RateShape):
        poisson_arrivals = scenario.load.arrivals == "poisson"
        demand = RateDemand(scenario.load.curve.requests, float(poisson_arrivals))
    else:
        pause_s = scenario.requests.think_s + parameters.client_s
        demand = UserDemand(scenario.users_at, scenario.duration_s, pause_s)
    return Fluid(clock, parameters, demand, service_times(_mix(scenario), parameters), random)
