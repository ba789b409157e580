"""Load shapes: how many users there are at each second, or how many requests a second.

Every kind of users expands to the same points. The kinds of rates are in `lab.load.rates`.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lab.load.arrivals import RateCurve, RatePoints

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Users = Annotated[int, Field(ge=0, le=10_000)]
Points = tuple[tuple[Seconds, Users], ...]
DAY_S = 86_400.0
LongSeconds = Annotated[float, Field(ge=0, le=31 * DAY_S)]
Length = Annotated[float, Field(gt=0, le=31 * DAY_S)]
Rate = Annotated[float, Field(ge=0, le=1_000_000)]


class Closed(BaseModel):
    """A table of a scenario file: an unknown key in it is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shape(Closed):
    """What all kinds have in common. Two points at the same second are a jump."""

    def corners(self) -> Points:
        """The shape as (second, users), in order of time, linear in between."""
        raise NotImplementedError

    @property
    def duration_s(self) -> float:
        return self.corners()[-1][0]

    @property
    def peak_users(self) -> int:
        return max(users for _, users in self.corners())

    def users_at(self, t_s: float) -> int:
        """Users at `t_s` seconds from the start, halves rounded up; past the end: the last."""
        corners = self.corners()
        for (from_s, from_users), (to_s, to_users) in pairwise(corners):
            if t_s < to_s:
                share = (t_s - from_s) / (to_s - from_s)
                return int(from_users + share * (to_users - from_users) + 0.5)
        return corners[-1][1]


class PointsShape(Shape):
    """The general form: [second, users] pairs, straight lines in between."""

    kind: Literal["points"]
    points: Annotated[Points, Field(min_length=2)]

    @field_validator("points")
    @classmethod
    def _in_order(cls, points: Points) -> Points:
        if points[0][0] != 0:
            raise ValueError(f"the first point is at {points[0][0]:g} s: begin at 0 s")
        for (before_s, _), (after_s, _) in pairwise(points):
            if after_s < before_s:
                raise ValueError(f"{after_s:g} s stands after {before_s:g} s: put them in order")
        if points[-1][0] == 0:
            raise ValueError("all points are at 0 s: end at a later second")
        return points

    def corners(self) -> Points:
        return self.points


class RampShape(Shape):
    """`low` users to `high` in `rise_s`, stay for `hold_s`, back in `fall_s`, stay for `rest_s`."""

    kind: Literal["ramp"]
    low: Users
    high: Users
    rise_s: Annotated[Seconds, Field(gt=0)]
    hold_s: Seconds = 0.0
    fall_s: Seconds = 0.0
    rest_s: Seconds = 0.0

    def corners(self) -> Points:
        top_s = self.rise_s + self.hold_s
        down_s = top_s + self.fall_s
        back = ((down_s, self.low), (down_s + self.rest_s, self.low))
        return (0.0, self.low), (self.rise_s, self.high), (top_s, self.high), *back


class StepsShape(Shape):
    """Each number of `users` for `each_s` seconds, one after the other."""

    kind: Literal["steps"]
    users: Annotated[tuple[Users, ...], Field(min_length=1)]
    each_s: Annotated[Seconds, Field(gt=0)]

    def corners(self) -> Points:
        return tuple(
            (index * self.each_s + offset_s, users)
            for index, users in enumerate(self.users)
            for offset_s in (0.0, self.each_s)
        )


class SpikeShape(Shape):
    """`base` users; after `before_s` at once `peak`, for `spike_s`; then `base` for `after_s`."""

    kind: Literal["spike"]
    base: Users
    peak: Users
    before_s: Seconds
    spike_s: Annotated[Seconds, Field(gt=0)]
    after_s: Seconds = 0.0

    def corners(self) -> Points:
        up_s = self.before_s
        down_s = up_s + self.spike_s
        rise = ((0.0, self.base), (up_s, self.base), (up_s, self.peak))
        return *rise, (down_s, self.peak), (down_s, self.base), (down_s + self.after_s, self.base)


SHAPES: dict[str, type[Shape]] = {
    "points": PointsShape,
    "ramp": RampShape,
    "steps": StepsShape,
    "spike": SpikeShape,
}
AnyUserShape = PointsShape | RampShape | StepsShape | SpikeShape


class RateShape(Closed):
    """What all open-loop kinds have in common."""

    arrivals: Literal["poisson", "even"] = "poisson"

    def points(self) -> RatePoints:
        """(second, requests a second), straight lines in between."""
        raise NotImplementedError

    @cached_property
    def curve(self) -> RateCurve:
        return RateCurve(self.points())

    @property
    def duration_s(self) -> float:
        return self.curve.duration_s
