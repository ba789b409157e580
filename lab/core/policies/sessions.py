"""Interoute's rule: as many servers as the requests that are being handled need.

Source: Interoute's loadbased autoscaler, which reads HAProxy's current sessions twice, 10 s apart:
`required = clamp(ceil(ceil((s1 + s2) / 2) / sessionPerVM), minVM, maxVM)`, and goes there in one
step. Here the two samples are all those of a window, and requests that wait for a server count
with those in flight. (Rounding the mean up first changes nothing where `sessions_per_server` is a
whole number.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from lab.core import windows
from lab.core.model import Observation, Recommendation


@dataclass(frozen=True)
class Sessions:
    """servers = ceil(mean(in flight + queued) / sessions_per_server)."""

    name: ClassVar[str] = "sessions"

    sessions_per_server: Annotated[float, Ge(0.01), Le(100_000)] = 4.0
    window_s: Annotated[float, Gt(0), Le(3600)] = 2.0

    def recommend(
        self, memory: windows.Samples | None, observation: Observation, current: int
    ) -> tuple[Recommendation, windows.Samples]:
        samples = memory or ()
        in_flight, queued = observation.metrics.in_flight, observation.metrics.queued
        if in_flight is None or queued is None:
            return Recommendation(None, "in flight and queued are unknown"), samples
        samples = windows.add(samples, observation.at_s, in_flight + queued, self.window_s)
        mean = windows.mean(samples)
        servers = math.ceil(mean / self.sessions_per_server)
        formula = (
            f"ceil({mean:.1f} in flight and queued (mean of {self.window_s:g} s)"
            f" / {self.sessions_per_server:g} per server) = {servers}"
        )
        return Recommendation(servers, formula), samples
