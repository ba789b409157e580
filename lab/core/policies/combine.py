"""Several policies at once.

Source of the rules: Kubernetes HPA (the largest of several metrics' numbers; with one of them
unknown the pool may grow and may not shrink), EC2 Auto Scaling (any policy may grow, all must
agree to shrink, and then it goes to the largest number), and Nomad's checks ("ScaleOut and ScaleIn
=> ScaleOut; ScaleOut and ScaleNone => ScaleOut; ScaleIn and ScaleNone => ScaleNone", of two in
one direction the higher count).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from lab.core.model import Observation, Recommendation
from lab.core.policies.base import Policy

Said = tuple[str, Recommendation]


@dataclass(frozen=True)
class Combine:
    """`largest`, `agree` (any may grow, all must agree to shrink) or `nomad` of the members.

    Where all members know a number the three come to the same, and differ in what they explain.
    They differ where one knows nothing: with `largest` and `agree` nobody else may shrink the
    pool past it; `nomad` leaves it out, as Nomad does with `on_check_error = "ignore"`, unless
    nobody knows anything.

    A member that is a floor (`predictive`, `schedule`) has no say in keeping servers: it is asked
    as if there were none, so that its number is the least there must be.
    """

    name: ClassVar[str] = "combine"
    own_guards: ClassVar[bool] = False

    rule: Literal["largest", "agree", "nomad"] = "largest"
    members: tuple[str, ...] = ("lab", "schedule")
    """Names of policies; each has its own section of the settings."""
    policies: tuple[Policy, ...] = field(default=(), metadata={"wired": True})
    """The members themselves, put here by `wired`: no setting."""

    def __post_init__(self) -> None:
        if self.name in self.members:
            raise ValueError("`combine` cannot be a member of itself")

    def wired(self, policy: Callable[[str], Policy]) -> Combine:
        """With the members that `policy` gives for their names."""
        return replace(self, policies=tuple(policy(name) for name in self.members))

    def recommend(
        self, memory: tuple[Any, ...] | None, observation: Observation, current: int
    ) -> tuple[Recommendation, tuple[Any, ...]]:
        said: list[Said] = []
        memories = []
        for policy, kept in zip(self.policies, memory or (None,) * len(self.policies), strict=True):
            asked = 0 if getattr(policy, "is_floor", False) else current
            recommendation, kept = policy.recommend(kept, observation, asked)
            said.append((policy.name, recommendation))
            memories.append(kept)
        return self._resolve(said, current), tuple(memories)

    def _resolve(self, said: list[Said], current: int) -> Recommendation:
        known = [(item.servers, name) for name, item in said if item.servers is not None]
        words = "; ".join(f"{name}: {item.formula}" for name, item in said)
        if not known:
            return Recommendation(None, f"no member knows a number ({words})")
        servers, winner = max(known, key=lambda pair: pair[0])
        unknown = [name for name, item in said if item.servers is None]
        if unknown and servers < current and self.rule != "nomad":
            return Recommendation(
                current, f"{', '.join(unknown)} unknown, so no shrinking: {current} ({words})"
            )
        return Recommendation(servers, f"{self._why(servers, winner, current)} ({words})")

    def _why(self, servers: int, winner: str, current: int) -> str:
        if self.rule == "largest":
            return f"the largest is {winner}'s: {servers}"
        if servers > current:
            return f"{winner} grows, and that goes first: {servers}"
        if servers == current:
            return f"{winner} keeps, and that goes before shrinking: {servers}"
        return f"all shrink, {winner} least: {servers}"
