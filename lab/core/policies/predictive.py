"""Grows ahead of the load that Holt and Winters' smoothing forecasts.

Source: Holt 1957 and Winters 1960, the additive method as in Hyndman and Athanasopoulos,
"Forecasting: Principles and Practice", 8.2 and 8.3, with Winters' seasonal update:

    level    l = alpha (y - s) + (1 - alpha) (l' + b')
    trend    b = beta (l - l') + (1 - beta) b'
    season   s = gamma (y - l) + (1 - gamma) s'
    forecast l + h b + s of the step forecast

and EC2's predictive scaling: a forecast grows the pool, it never shrinks it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Interval, Le

from lab.core.metrics import Metric, total
from lab.core.model import Observation, Recommendation

Share = Annotated[float, Interval(ge=0, le=1)]

LONGEST_GAP = 10
"""Steps without a value (or a season, if that is longer) after which smoothing begins anew."""
LONGEST_SEASON = 10_000


@dataclass(frozen=True, slots=True)
class Smoothing:
    """What is known after a step: triple smoothing with a season, double without one."""

    level: float
    trend: float | None = None
    """None: only one value is known."""
    season: tuple[float, ...] = ()
    """By position in the season; empty until one has passed."""

    def updated(
        self, value: float, position: int, alpha: float, beta: float, gamma: float
    ) -> Smoothing:
        if self.trend is None:
            return Smoothing(value, value - self.level)
        seasonal = self.season[position] if self.season else 0.0
        level = alpha * (value - seasonal) + (1 - alpha) * (self.level + self.trend)
        trend = beta * (level - self.level) + (1 - beta) * self.trend
        season = self.season
        if season:
            changed = gamma * (value - level) + (1 - gamma) * seasonal
            season = (*season[:position], changed, *season[position + 1 :])
        return Smoothing(level, trend, season)

    def forecast(self, steps: float, position: int) -> float:
        seasonal = self.season[position] if self.season else 0.0
        return self.level + steps * (self.trend or 0.0) + seasonal


@dataclass(frozen=True, slots=True)
class PredictiveMemory:
    step: int
    """The step that is being measured, counted from the world's second 0."""
    total: float
    count: int
    smoothing: Smoothing | None = None
    first: tuple[tuple[int, float], ...] = ()
    """(position, value) of the first season, from which its shape is taken."""


@dataclass(frozen=True)
class Predictive:
    """servers = max(current, ceil(forecast at now + `ahead_s` / `target`))

    The series is the mean of the pool's `metric` over steps of `step_s`. `ahead_s` is the time to
    capacity of the coldest slot. A season (`season_s`; 0: none) is learnt from its first passing:
    level = its mean, s = value - mean. It only grows: use it with another policy in `combine`,
    which hands it no servers to keep and so takes its forecast as a floor.
    """

    name: ClassVar[str] = "predictive"
    own_guards: ClassVar[bool] = False
    is_floor: ClassVar[bool] = True

    metric: Metric = Metric.CONCURRENCY
    target: Annotated[float, Gt(0), Le(1_000_000)] = 4.0
    """Of the metric, for each server."""
    ahead_s: Annotated[float, Ge(0), Le(86_400)] = 0.8
    step_s: Annotated[float, Gt(0), Le(86_400)] = 1.0
    season_s: Annotated[float, Ge(0), Le(10_000_000)] = 0.0
    alpha: Share = 0.5
    beta: Share = 0.1
    gamma: Share = 0.1

    def __post_init__(self) -> None:
        if self.steps > LONGEST_SEASON:
            raise ValueError(
                f"a season of {self.season_s:g} s has {self.steps} steps of {self.step_s:g} s;"
                f" make `step_s` longer, for {LONGEST_SEASON} at most"
            )

    @property
    def steps(self) -> int:
        """In a season; 0: there is none."""
        return round(self.season_s / self.step_s)

    def recommend(
        self, memory: PredictiveMemory | None, observation: Observation, current: int
    ) -> tuple[Recommendation, PredictiveMemory | None]:
        value, at_s = total(self.metric, observation), observation.at_s
        if value is None:
            return Recommendation(None, f"{self.metric} is unknown"), memory
        step = math.floor(at_s / self.step_s)
        if memory is None:
            memory = PredictiveMemory(step, value, 1)
        elif step == memory.step:
            memory = replace(memory, total=memory.total + value, count=memory.count + 1)
        else:
            memory = replace(self._finished(memory, step), step=step, total=value, count=1)
        if memory.smoothing is None:
            return Recommendation(current, f"no step of {self.step_s:g} s has passed"), memory
        forecast = self._forecast(memory.smoothing, at_s, step)
        needed = math.ceil(max(0.0, forecast) / self.target - 1e-9)
        kind = "level, trend and season" if memory.smoothing.season else "level and trend"
        formula = (
            f"max({current}, ceil({self.metric} {forecast:.2f} in {self.ahead_s:g} s by {kind}"
            f" / {self.target:g})) = {max(current, needed)}"
        )
        return Recommendation(max(current, needed), formula), memory

    def _forecast(self, smoothing: Smoothing, at_s: float, step: int) -> float:
        """The last value known is the mean of the step before `step`: of that step's middle."""
        ahead = (at_s + self.ahead_s) / self.step_s - (step - 0.5)
        position = math.floor((at_s + self.ahead_s) / self.step_s) % (self.steps or 1)
        return smoothing.forecast(ahead, position)

    def _finished(self, memory: PredictiveMemory, step: int) -> PredictiveMemory:
        """With the value of the step that is over; steps without one follow the trend."""
        value, steps = memory.total / memory.count, self.steps
        position = memory.step % (steps or 1)
        gap = step - memory.step - 1
        if not 0 <= gap <= max(LONGEST_GAP, steps):
            return PredictiveMemory(step, 0.0, 0)
        if memory.smoothing is None:
            smoothing = Smoothing(value)
        else:
            smoothing = memory.smoothing.updated(value, position, self.alpha, self.beta, self.gamma)
        first = memory.first
        if steps and not smoothing.season:
            first = (*first, (position, value))
            smoothing = self._with_season(smoothing, first)
        if gap:
            smoothing = replace(smoothing, level=smoothing.level + gap * (smoothing.trend or 0.0))
        return replace(memory, smoothing=smoothing, first=() if smoothing.season else first)

    def _with_season(self, smoothing: Smoothing, first: tuple[tuple[int, float], ...]) -> Smoothing:
        """Once each position of the season has been seen: its shape, around its mean."""
        values = dict(first)
        if len(values) < self.steps:
            return smoothing
        mean = math.fsum(values.values()) / self.steps
        season = tuple(values[position] - mean for position in range(self.steps))
        return Smoothing(mean, 0.0, season)
