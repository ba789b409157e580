"""What a policy is: numbers in, a number and its formula out."""

from __future__ import annotations

from typing import Any, Protocol

from lab.core.model import Observation, Recommendation


class Policy(Protocol):
    """Recommends how many servers should serve.

    A policy keeps nothing: what it has to remember between two ticks is the `memory` value that it
    returned last time (None on the first tick).
    """

    @property
    def name(self) -> str: ...

    def recommend(
        self, memory: Any, observation: Observation, current: int
    ) -> tuple[Recommendation, Any]:
        """`current` is the number of servers that serve or are on their way to."""
        ...
