"""The kinds of `[load]` that are rates: open-loop shapes, in requests a second.

Each has `arrivals = "poisson"` (independent users; the default) or `"even"` (a metronome).
"""

from __future__ import annotations

import math
from itertools import islice, pairwise
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from lab.load.arrivals import RatePoints, autoregression, sampled
from lab.load.recorded import AccessLog, RateFile
from lab.load.shapes import DAY_S, Length, LongSeconds, Rate, RateShape

Share = Annotated[float, Field(ge=0, le=1)]


class RatePointsShape(RateShape):
    """The general form: [second, requests a second] pairs, straight lines in between."""

    kind: Literal["rate"]
    rates: Annotated[tuple[tuple[LongSeconds, Rate], ...], Field(min_length=2)]

    @field_validator("rates")
    @classmethod
    def _in_order(cls, rates: RatePoints) -> RatePoints:
        if rates[0][0] != 0:
            raise ValueError(f"the first point is at {rates[0][0]:g} s: begin at 0 s")
        for (before_s, _), (after_s, _) in pairwise(rates):
            if after_s < before_s:
                raise ValueError(f"{after_s:g} s stands after {before_s:g} s: put them in order")
        if rates[-1][0] == 0:
            raise ValueError("all points are at 0 s: end at a later second")
        return rates

    def points(self) -> RatePoints:
        return self.rates


class RateRamp(RateShape):
    """`low` to `high` in `rise_s`, stay for `hold_s`, back in `fall_s`, stay for `rest_s`."""

    kind: Literal["rate-ramp"]
    low: Rate
    high: Rate
    rise_s: Length
    hold_s: LongSeconds = 0.0
    fall_s: LongSeconds = 0.0
    rest_s: LongSeconds = 0.0

    def points(self) -> RatePoints:
        top_s = self.rise_s + self.hold_s
        down_s = top_s + self.fall_s
        back = ((down_s, self.low), (down_s + self.rest_s, self.low))
        return (0.0, self.low), (self.rise_s, self.high), (top_s, self.high), *back


class RateSteps(RateShape):
    """Each of `rates` for `each_s` seconds, one after the other."""

    kind: Literal["rate-steps"]
    rates: Annotated[tuple[Rate, ...], Field(min_length=1)]
    each_s: Length

    def points(self) -> RatePoints:
        return _stairs([(self.each_s, rate) for rate in self.rates])


class RateSpike(RateShape):
    """`base`; after `before_s` at once `peak`, for `spike_s`; then `base` for `after_s`."""

    kind: Literal["rate-spike"]
    base: Rate
    peak: Rate
    before_s: LongSeconds
    spike_s: Length
    after_s: LongSeconds = 0.0

    def points(self) -> RatePoints:
        return _stairs(
            [(self.before_s, self.base), (self.spike_s, self.peak), (self.after_s, self.base)]
        )


class FlashCrowd(RateShape):
    """`base`; from `before_s` on a crowd comes: to `peak` in `rise_s`, and half of it has gone
    each `half_life_s` after that, for `after_s`."""

    kind: Literal["flash-crowd"]
    base: Rate
    peak: Rate
    before_s: LongSeconds
    rise_s: Length
    half_life_s: Length
    after_s: Length

    def points(self) -> RatePoints:
        length_s = self.before_s + self.rise_s + self.after_s
        every_s = min(1.0, self.rise_s / 5, self.half_life_s / 5)
        return sampled(
            lambda t_s: self.base + self.crowd(t_s), length_s, max(every_s, length_s / 50_000)
        )

    def crowd(self, t_s: float) -> float:
        over, since_s = self.peak - self.base, t_s - self.before_s
        if since_s <= 0:
            return 0.0
        if since_s <= self.rise_s:
            return over * since_s / self.rise_s
        left: float = 0.5 ** ((since_s - self.rise_s) / self.half_life_s)
        return over * left


class Sawtooth(RateShape):
    """Up from `threshold` − `swing` to + `swing` and straight back, `times` over, `period_s` each:
    choose the threshold at which one server more is needed, and see who flaps."""

    kind: Literal["sawtooth"]
    threshold: Rate
    swing: Rate
    period_s: Length
    times: Annotated[int, Field(ge=1, le=10_000)]

    def points(self) -> RatePoints:
        low, high = max(0.0, self.threshold - self.swing), self.threshold + self.swing
        return tuple(
            (index * self.period_s / 2, high if index % 2 else low)
            for index in range(2 * self.times + 1)
        )


class Day(RateShape):
    """λ(t) = base·(1 + diurnal + weekly)·exp(AR(1)) + flash crowds, seeded.

    The lowest point of a day is at 4 o'clock and the highest at 16 o'clock. A day may be made
    shorter than it is: with `day_s = 3600`, all times in it shrink alike.
    """

    kind: Literal["day"]
    base: Rate
    """Requests a second, on average over a working day."""
    diurnal: Share = 0.6
    """How much the day swings about it: 0.6 is from 40 % to 160 %."""
    weekend: Share = 0.3
    """How much less there is on the sixth and seventh day."""
    noise: Annotated[float, Field(ge=0, le=2)] = 0.15
    """Standard deviation of the rate's logarithm."""
    noise_lasts_s: Length = 600.0
    """How long a deviation lasts, of a whole day's 86,400 s."""
    crowds: Annotated[int, Field(ge=0, le=100)] = 1
    """Flash crowds in all, each of up to twice the base."""
    days: Annotated[float, Field(gt=0, le=31)] = 1.0
    day_s: Length = DAY_S
    seed: int = 1

    _EVERY_S: ClassVar[float] = 60.0

    def points(self) -> RatePoints:
        random = Random(f"day-{self.seed}")
        length_s = self.days * DAY_S
        noise = autoregression(random, self.noise, self.noise_lasts_s, self._EVERY_S)
        values = list(islice(noise, math.ceil(length_s / self._EVERY_S) + 1))
        crowds = [
            FlashCrowd(
                kind="flash-crowd",
                base=0.0,
                peak=self.base * random.uniform(0.7, 2.0),
                before_s=random.uniform(0.1, 0.8) * length_s,
                rise_s=random.uniform(60.0, 300.0),
                half_life_s=random.uniform(300.0, 1200.0),
                after_s=DAY_S,
            )
            for _ in range(self.crowds)
        ]

        def rate(t_s: float) -> float:
            swing = 1.0 + self.diurnal * math.sin(2 * math.pi * (t_s / DAY_S - 10 / 24))
            swing -= self.weekend if int(t_s // DAY_S) % 7 >= 5 else 0.0
            factor = math.exp(values[round(t_s / self._EVERY_S)] - self.noise**2 / 2)
            return self.base * max(0.0, swing) * factor + sum(c.crowd(t_s) for c in crowds)

        shrunk = self.day_s / DAY_S
        points = sampled(rate, length_s, self._EVERY_S)
        return tuple((t_s * shrunk, requests_per_s) for t_s, requests_per_s in points)


class Drift(RateShape):
    """So slow from `start` to `end` that nobody looks."""

    kind: Literal["drift"]
    start: Rate
    end: Rate
    length_s: Length

    def points(self) -> RatePoints:
        return (0.0, self.start), (self.length_s, self.end)


class OnOff(RateShape):
    """`rate` for `on_s`, `rest` for `off_s`, `times` over."""

    kind: Literal["on-off"]
    rate: Rate
    on_s: Length
    off_s: Length
    times: Annotated[int, Field(ge=1, le=10_000)]
    rest: Rate = 0.0

    def points(self) -> RatePoints:
        return _stairs([(self.on_s, self.rate), (self.off_s, self.rest)] * self.times)


class Herd(RateShape):
    """Nobody for `idle_s`; then everybody at once: `herd` requests within `burst_s`, and `rate`
    from there for `after_s`."""

    kind: Literal["herd"]
    idle_s: Length
    herd: Annotated[int, Field(ge=1, le=1_000_000)]
    burst_s: Length = 1.0
    rate: Rate
    after_s: Length

    def points(self) -> RatePoints:
        burst = self.herd / self.burst_s
        return _stairs([(self.idle_s, 0.0), (self.burst_s, burst), (self.after_s, self.rate)])


def _stairs(steps: list[tuple[float, float]]) -> RatePoints:
    """(seconds, rate) one after the other."""
    points: list[tuple[float, float]] = []
    at_s = 0.0
    for for_s, rate in steps:
        if for_s:
            points += [(at_s, rate), (at_s + for_s, rate)]
            at_s += for_s
    return tuple(points)


RATE_SHAPES: dict[str, type[RateShape]] = {
    "rate": RatePointsShape,
    "rate-ramp": RateRamp,
    "rate-steps": RateSteps,
    "rate-spike": RateSpike,
    "flash-crowd": FlashCrowd,
    "sawtooth": Sawtooth,
    "day": Day,
    "drift": Drift,
    "on-off": OnOff,
    "herd": Herd,
    "rate-file": RateFile,
    "access-log": AccessLog,
}
AnyRateShape = (
    RatePointsShape
    | RateRamp
    | RateSteps
    | RateSpike
    | FlashCrowd
    | Sawtooth
    | Day
    | Drift
    | OnOff
    | Herd
    | RateFile
    | AccessLog
)
