"""A number, whatever happens: the baseline of a comparison, and a class's first policy.

Source: Interoute's autoscaler, whose `requiredVmCount` is pinned by editing the program, and
Nomad's `fixed-value` strategy. (`lab pin N` is the operator's way; it goes before any policy.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.core.model import Observation, Recommendation


@dataclass(frozen=True)
class Pinned:
    """servers = `servers`"""

    name: ClassVar[str] = "pinned"
    own_guards: ClassVar[bool] = True

    servers: Annotated[int, Ge(0), Le(1_000_000)] = 1

    def recommend(
        self, memory: None, observation: Observation, current: int
    ) -> tuple[Recommendation, None]:
        """The number, even when nothing can be measured: it depends on no metric."""
        return Recommendation(self.servers, f"pinned to {self.servers} by the settings"), None
