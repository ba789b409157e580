"""All policies against all scenarios in the simulator, with a bound above and one below.

The bound above is the *oracle*: it knows the load that is to come, asks for the servers that it
needs the time to capacity ahead, and keeps no more. The bound below is *none*: the pool stays at
its minimum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from lab import wiring
from lab.core.decide import Brain
from lab.core.model import Observation, Recommendation
from lab.core.policies.pinned import Pinned
from lab.load.measures import Elasticity, eta
from lab.load.scenario import Scenario, load_scenario
from lab.load.shapes import RateShape
from lab.settings import Settings
from lab.simulation import Setup, Simulation
from lab.worlds.sim.parameters import Parameters

NONE, ORACLE = "none", "oracle"
MIX_S = 0.2
"""The service time that the oracle reckons with where arrivals are given as a rate."""
LOOK_AHEAD_STEP_S = 0.25


@dataclass(frozen=True)
class Oracle:
    """servers = ceil(the largest concurrency from now until a server could serve / workers)."""

    name: ClassVar[str] = ORACLE
    own_guards: ClassVar[bool] = True

    concurrency_at: Callable[[float], float]
    workers: int
    lead_s: float

    def recommend(
        self, memory: None, observation: Observation, current: int
    ) -> tuple[Recommendation, None]:
        steps = math.ceil(self.lead_s / LOOK_AHEAD_STEP_S) + 1
        ahead = [observation.at_s + step * LOOK_AHEAD_STEP_S for step in range(steps)]
        most = max(self.concurrency_at(at_s) for at_s in ahead)
        servers = math.ceil(most / self.workers)
        formula = f"ceil({most:.1f} to come / {self.workers}) = {servers}"
        return Recommendation(servers, formula), None


@dataclass(frozen=True)
class Card:
    """One policy in one scenario. Times in seconds but for `_ms`; θ and τ in percent."""

    scenario: str
    policy: str
    passed: bool
    slo_violation_s: float
    """In which the 95th percentile of the last 5 s was above the SLO, or requests failed."""
    failed: int | None
    p95_ms: float | None
    container_seconds: float
    theta_u: float | None
    theta_o: float | None
    tau_u: float | None
    tau_o: float | None
    instability: float | None
    flaps: int
    eta: float | None = None
    """Elastic speed-up against no scaling (Herbst et al.). 0 says little: a pool that never grows
    never has too many either, so any policy that ever has is infinitely worse at that."""


def compare(
    settings: Settings,
    policies: Sequence[str],
    scenarios: Sequence[str],
    slo_ms: float,
    seed: int,
    on_done: Callable[[int, int], None],
    processes: int = 2,
) -> list[Card]:
    """A card for each policy in each scenario, in that order."""
    names = [*policies, ORACLE, NONE]
    document = settings.model_dump(mode="json")
    jobs = [(document, name, scenario, slo_ms, seed) for scenario in scenarios for name in names]
    cards: list[Card] = []
    with ProcessPoolExecutor(processes) as pool:
        for card in pool.map(_run, jobs):
            cards.append(card)
            on_done(len(cards), len(jobs))
    return list(_with_eta(cards))


def _run(job: tuple[dict[str, Any], str, str, float, int]) -> Card:
    document, name, scenario_name, slo_ms, seed = job
    settings = Settings.model_validate(document)
    scenario = load_scenario(scenario_name)
    setup = Setup(parameters=parameters(settings), seed=seed, interval_s=settings.scaler.interval_s)
    simulation = Simulation(scenario, brain(settings, name, scenario, setup.parameters), setup)
    violation_s = 0.0
    for tick in simulation.ticks():
        seen = tick.observation.metrics
        if (seen.p95_ms or 0) > slo_ms or (seen.errors_per_s or 0) > 0:
            violation_s += setup.interval_s
    verdict = simulation.verdict()
    values = {key: value for key, value in asdict(verdict).items() if key in Card.__annotations__}
    return Card(**{**values, "policy": name, "slo_violation_s": violation_s})


def brain(settings: Settings, name: str, scenario: Scenario, given: Parameters) -> Brain:
    """The brain of a policy, or of one of the two bounds."""
    if name not in (NONE, ORACLE):
        return wiring.brain(settings, name)
    policy: Any = Pinned(settings.pool.min)
    if name == ORACLE:
        lead_s = given.create_s + given.start_s + given.ready_s + settings.scaler.interval_s
        policy = Oracle(_concurrency(scenario), settings.server.workers, lead_s)
    return replace(wiring.brain(settings), policy=policy, guards=(), shadows=())


def parameters(settings: Settings) -> Parameters:
    """The simulator's parameters as far as the settings say them."""
    return Parameters(
        slots=settings.pool.max,
        workers=settings.server.workers,
        boot_deadline_s=settings.scaler.boot_deadline_s,
        queue_timeout_s=settings.balancer.queue_timeout_s,
    )


def _concurrency(scenario: Scenario) -> Callable[[float], float]:
    shape = scenario.load
    if isinstance(shape, RateShape):
        return lambda at_s: shape.curve.at(at_s) * MIX_S
    return scenario.users_at


def _with_eta(cards: Sequence[Card]) -> Iterator[Card]:
    none = {card.scenario: card for card in cards if card.policy == NONE}
    for card in cards:
        yield replace(card, eta=eta(_elasticity(none[card.scenario]), _elasticity(card)))


def _elasticity(card: Card) -> Elasticity:
    return Elasticity(card.theta_u, card.theta_o, card.tau_u, card.tau_o, card.instability)
