"""What a policy is: numbers in, a number and its formula out."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from lab.core.model import Observation, Recommendation


class Policy(Protocol):
    """Recommends how many servers should serve.

    A policy is a frozen dataclass whose fields are its settings. It keeps nothing: what it has to
    remember between two ticks is the `memory` value that it returned last time (None on the first
    tick). Whatever it cannot know, it does not guess: it recommends None, and says why.
    """

    name: ClassVar[str]

    def recommend(
        self, memory: Any, observation: Observation, current: int
    ) -> tuple[Recommendation, Any]:
        """`current` is the number of servers that serve or are on their way to."""
        ...


def has_own_guards(policy: Policy) -> bool:
    """Whether its original stabilises and limits its steps itself (`own_guards = True`).

    Then the lab's general guards, other than the limits, would falsify it.
    """
    return bool(getattr(policy, "own_guards", False))
