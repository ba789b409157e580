"""The four autoscalers that the elasticity literature compares with: React, Hist, Reg and Adapt.

Versions. The papers define the algorithms in prose; what was measured in the comparisons
(Ilyushkin et al., ICPE 2017; Versluis et al., CCGRID 2018) is code. React, Reg and Adapt follow
the code of Versluis et al., parts of which are by the algorithms' authors; Hist follows its paper.
Each docstring says what was chosen here. In that code a *load* is the number of requests that are
worked on or wait, divided by what a server takes: here in flight and queued over
`requests_per_server`. An evaluation uses the mean since the one before, in between the last number
stands, and there is no damping but the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Interval, Le

from lab.core.changes import is_due, next_due
from lab.core.metrics import Metric, total
from lab.core.model import Observation, Phase, Recommendation
from lab.core.policies.fits import Histogram, percentile, quadratic

Seconds = Annotated[float, Gt(0), Le(86_400)]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The last evaluation, and what was seen since."""

    due_s: float
    last: Recommendation
    state: Any
    loads: float = 0.0
    count: int = 0


@dataclass(frozen=True)
class Periodic:
    """A policy that decides every `interval_s`."""

    own_guards: ClassVar[bool] = True

    interval_s: Seconds = 60.0
    requests_per_server: Annotated[float, Gt(0), Le(100_000)] = 4.0

    def recommend(
        self, memory: Evaluated | None, observation: Observation, current: int
    ) -> tuple[Recommendation, Evaluated | None]:
        requests, at_s = total(Metric.CONCURRENCY, observation), observation.at_s
        if requests is None:
            return Recommendation(None, "in flight and queued are unknown"), memory
        loads, count = requests / self.requests_per_server, 1
        due_s = state = None
        if memory is not None:
            loads, count = loads + memory.loads, count + memory.count
            due_s, state = memory.due_s, memory.state
            if not is_due(due_s, at_s):
                wait = f"{memory.last.formula} (next evaluation in {due_s - at_s:.0f} s)"
                kept = Evaluated(due_s, memory.last, state, loads, count)
                return Recommendation(memory.last.servers, wait), kept
        servers, formula, state = self.evaluate(state, loads / count, observation, current)
        result = Recommendation(max(0, servers), formula)
        return result, Evaluated(next_due(due_s, at_s, self.interval_s), result, state)

    def evaluate(
        self, state: Any, load: float, observation: Observation, current: int
    ) -> tuple[int, str, Any]:
        """The number of servers for a `load` in servers."""
        raise NotImplementedError


@dataclass(frozen=True)
class React(Periodic):
    """Threshold on the load, two servers to spare.

    Source: Chieu, Mohindra, Karve, Segal, "Dynamic Scaling of Web Applications in a Virtualized
    Cloud Computing Environment", ICEBE 2009.

    `literature` (Versluis et al.): missing = load − capacity. missing ≥ 0 adds missing + 2;
    missing < −2 goes to load + 2. (That code then removes |missing| + 2, which is below the
    load; it does no harm there, where only idle machines are released.)

    `chieu`, the paper's own: one more if the sessions of every server reach the upper threshold;
    one less if at least two servers are below the lower one and one of them has no session.
    The thresholds, shares of `requests_per_server`, are an administrator's choice in the paper.
    """

    name: ClassVar[str] = "react"

    rule: Literal["literature", "chieu"] = "literature"
    spare_servers: Annotated[int, Ge(0), Le(1000)] = 2
    upper: Annotated[float, Gt(0), Le(1)] = 0.8
    lower: Annotated[float, Gt(0), Le(1)] = 0.6

    def evaluate(
        self, state: None, load: float, observation: Observation, current: int
    ) -> tuple[int, str, None]:
        if self.rule == "chieu":
            return *self._chieu(observation, current), None
        spare, missing = self.spare_servers, load - current
        what = f"load {load:.2f} - {current} servers = {missing:+.2f}"
        if -spare <= missing < 0:
            return current, f"{what}, between -{spare} and 0: {current}", None
        servers = math.ceil(load) + spare
        return servers, f"{what}: ceil({load:.2f}) + {spare} to spare = {servers}", None

    def _chieu(self, observation: Observation, current: int) -> tuple[int, str]:
        sessions = [slot.sessions + slot.queued for slot in observation.in_phase(Phase.SERVING)]
        high, low = self.upper * self.requests_per_server, self.lower * self.requests_per_server
        exceed = sum(count >= high for count in sessions)
        below = sum(count < low for count in sessions)
        step = 0
        if sessions and exceed == len(sessions):
            step = 1
        elif below >= 2 and 0 in sessions:
            step = -1
        what = (
            f"of {len(sessions)} servers {exceed} have at least {high:g} sessions,"
            f" {below} fewer than {low:g}, {sessions.count(0)} none"
        )
        return current + step, f"{what}: {current} {step:+d} = {current + step}"


@dataclass(frozen=True, slots=True)
class HistState:
    hour: int
    seen: Histogram = ()
    """What was seen in this hour."""
    past: tuple[tuple[int, tuple[Histogram, ...]], ...] = ()
    """By hour of day, the histograms of the last days."""
    predicted: float | None = None
    reactive: int = 0
    errors: tuple[float, ...] = ()


@dataclass(frozen=True)
class Hist(Periodic):
    """A high percentile of what the same hour of the last days needed, corrected, and a reaction.

    Source: Urgaonkar, Shenoy, Chandra, Goyal, Wood, "Agile Dynamic Provisioning of Multi-tier
    Internet Applications", ICAC 2005 and ACM TAAS 3(1), 2008: prediction for an hour = percentile
    of its histogram + max(0, mean of the last `errors` (observed − predicted)); every few minutes,
    observed / predicted > `reactive_ratio` allocates what is observed until the hour ends.

    Chosen: the load in servers stands for the paper's session rate through its G/G/1 model;
    `percentile` 0.99; the errors of 2 hours, the ratio, and 7 days. Without a day's history
    nothing is predicted and the reaction alone decides. Hours are the clock's where it is known.
    """

    name: ClassVar[str] = "hist"

    interval_s: Seconds = 300.0
    hour_s: Seconds = 3600.0
    hours: Annotated[int, Ge(1), Le(10_000)] = 24
    percentile: Annotated[float, Interval(gt=0, le=1)] = 0.99
    errors: Annotated[int, Ge(1), Le(1000)] = 2
    reactive_ratio: Annotated[float, Ge(1), Le(100)] = 1.1
    days: Annotated[int, Ge(1), Le(1000)] = 7

    def evaluate(
        self, state: HistState | None, load: float, observation: Observation, current: int
    ) -> tuple[int, str, HistState]:
        clock_s = observation.at_s if observation.utc_s is None else observation.utc_s
        hour = math.floor(clock_s / self.hour_s)
        if state is None or state.hour != hour:
            state = self._next_hour(state, hour)
        needed = math.ceil(load)
        reactive, predicted = state.reactive, state.predicted
        if predicted is None or load > self.reactive_ratio * predicted:
            reactive = max(reactive, needed)
        servers = max(math.ceil(predicted or 0), reactive)
        said = "nothing" if predicted is None else f"{predicted:.2f}"
        formula = (
            f"max({said} predicted for hour {hour % self.hours},"
            f" {reactive} by reaction to load {load:.2f}) = {servers}"
        )
        seen = (*state.seen, needed)
        return (
            servers,
            formula,
            HistState(hour, seen, state.past, predicted, reactive, state.errors),
        )

    def _next_hour(self, state: HistState | None, hour: int) -> HistState:
        past: dict[int, tuple[Histogram, ...]] = {}
        errors: tuple[float, ...] = ()
        if state is not None and state.seen:
            past, errors = dict(state.past), state.errors
            key = state.hour % self.hours
            past[key] = (*past.get(key, ()), state.seen)[-self.days :]
            if state.predicted is not None:
                error = percentile((state.seen,), self.percentile) - state.predicted
                errors = (*errors, error)[-self.errors :]
        same_hour = past.get(hour % self.hours)
        predicted = None
        if same_hour:
            correction = max(0.0, sum(errors) / self.errors)
            predicted = percentile(same_hour, self.percentile) + correction
        return HistState(hour, (), tuple(sorted(past.items())), predicted, 0, errors)


@dataclass(frozen=True)
class Reg(Periodic):
    """Grows with the load; shrinks to what a second-order regression says.

    Source: Iqbal, Dailey, Carrera, Janecek, "Adaptive resource provisioning for read intensive
    multi-tier applications in the cloud", FGCS 27(6), 2011, as in Versluis et al.: with
    capacity > load, ceil(p(now)) of the parabola p through the last 72 loads; else the load.

    Chosen: a parabola above the capacity keeps it, for growing is the reaction's part (that code
    takes 0 for it, which would release every server).
    """

    name: ClassVar[str] = "reg"

    samples: Annotated[int, Ge(1), Le(10_000)] = 72

    def evaluate(
        self,
        state: tuple[tuple[float, float], ...] | None,
        load: float,
        observation: Observation,
        current: int,
    ) -> tuple[int, str, tuple[tuple[float, float], ...]]:
        samples = (*(state or ()), (observation.at_s, load))[-self.samples :]
        if current <= load:
            servers = math.ceil(load)
            return servers, f"load {load:.2f} ≥ {current} servers: ceil = {servers}", samples
        fitted = quadratic(samples, observation.at_s)
        servers = min(current, max(0, math.ceil(fitted - 1e-9)))
        formula = (
            f"load {load:.2f} < {current} servers: min({current}, ceil({fitted:.2f}),"
            f" a parabola through {len(samples)} loads) = {servers}"
        )
        return servers, formula, samples


@dataclass(frozen=True, slots=True)
class AdaptState:
    evaluations: int = 0
    capacities: int = 0
    """The sum of the capacities at all evaluations; with their number, the mean."""
    repair: float = 0.0
    """Servers that the controller owes, in fractions."""


@dataclass(frozen=True)
class Adapt(Periodic):
    """Grows by reaction, shrinks by an integral controller whose gain follows the capacity.

    Source: Ali-Eldin, Tordsson, Elmroth, "An adaptive hybrid elasticity controller for cloud
    infrastructures", NOMS 2012; the authors' code in Versluis et al., and Ali-Eldin's
    HybridServiceController of OPTIMIS (2012). With Δ = ceil(load) − capacity and n̄ the mean
    capacity so far: u = capacity / n̄, P = Δ / n̄, R = u · P · n̄, a fifteenth of it if negative.
    Σ R is paid out in whole servers. With Δ > 0: max(Δ + 2, what is paid out) more; otherwise
    what is paid out, but two servers stay to spare. With nothing owed (0 ≤ Σ R < 1) and Δ = 0,
    the reaction's two servers to spare are added as well.

    Chosen: an interval is the paper's unit of time, and the estimates are made anew at each
    (their rule, ceil(0.01 capacity / capacity) = 1, comes to that); the result is a change (the
    simulator around their code takes it for a target); the bound on shrinking uses the load
    (their NumberOfRequests is never set).
    """

    name: ClassVar[str] = "adapt"

    spare_servers: Annotated[int, Ge(0), Le(1000)] = 2
    shrink_divisor: Annotated[float, Ge(1), Le(1000)] = 15.0

    def evaluate(
        self, state: AdaptState | None, load: float, observation: Observation, current: int
    ) -> tuple[int, str, AdaptState]:
        before = state or AdaptState()
        evaluations, capacities = before.evaluations + 1, before.capacities + current
        mean = capacities / evaluations
        delta = math.ceil(load) - current
        rate = current * delta / mean if mean else float(delta)
        if rate < 0:
            rate /= self.shrink_divisor
        repair = before.repair + rate
        paid = int(repair)
        spare = self.spare_servers
        if delta > 0 or (delta == 0 and 0 <= repair < 1):
            change = max(delta + spare, paid)
        else:
            change = max(paid, min(0, delta + spare))
        formula = (
            f"ceil(load {load:.2f}) - {current} servers = {delta:+d}, owed {before.repair:+.2f}"
            f" {rate:+.2f} (capacity {current} / mean {mean:.2f}): {current} {change:+d}"
            f" = {current + change}"
        )
        return current + change, formula, AdaptState(evaluations, capacities, repair - paid)
