"""What a rule decided and what came of it: the history that cooldowns and rate limits go by.

A rule that asks for a change cannot know whether it happens: limits, a pin or a pause may stop it,
and a shadow policy is never followed. So a decision counts as a change only when the next
observation shows one in its direction, with the size that is seen and the time of the decision.
A server that broke is no decision and no change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Change:
    at_s: float
    servers: int
    """How many servers came (above zero) or went (below)."""


@dataclass(frozen=True)
class Changes:
    """Decisions that were followed, oldest first, and the one that is still to be seen."""

    made: tuple[Change, ...] = ()
    asked: Change | None = None
    asked_at: int = 0
    """How many servers there were when `asked` was decided."""

    def seen(self, current: int) -> Changes:
        """`current` servers are observed: did the last decision come about?"""
        if self.asked is None:
            return self
        came = current - self.asked_at
        if came * self.asked.servers <= 0:
            return Changes(self.made)
        return Changes((*self.made, Change(self.asked.at_s, came)))

    def decided(self, at_s: float, current: int, wanted: int) -> Changes:
        """`wanted` servers were asked for."""
        asked = Change(at_s, wanted - current) if wanted != current else None
        return replace(self, asked=asked, asked_at=current)

    def since(self, at_s: float) -> Changes:
        """Without what was decided at `at_s` or before."""
        return replace(self, made=self.newer(at_s))

    def newer(self, at_s: float) -> tuple[Change, ...]:
        """The changes that were decided after `at_s`."""
        return tuple(change for change in self.made if change.at_s > at_s)

    def net(self, at_s: float) -> int:
        """How many more servers there are for the changes after `at_s`."""
        return sum(change.servers for change in self.newer(at_s))

    @property
    def last(self) -> Change | None:
        return self.made[-1] if self.made else None


NO_CHANGES = Changes()

EARLY_S = 1e-6
"""Clocks that are summed from steps miss a round number by less than this."""


def is_due(due_s: float | None, at_s: float) -> bool:
    """Whether a rule that runs now and then runs at `at_s` (None: it has not run yet)."""
    return due_s is None or at_s >= due_s - EARLY_S


def next_due(due_s: float | None, at_s: float, period_s: float) -> float:
    """When it runs again, after it ran at `at_s`. Runs that were missed are not made up for."""
    if due_s is None or at_s - due_s >= period_s:
        return at_s + period_s
    return due_s + period_s
