"""One decision: a policy recommends, guards bound, the planner turns the number into actions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.core import guards, planner
from lab.core.guards import Guard, Limits
from lab.core.model import (
    Decision,
    GuardNote,
    Memory,
    Observation,
    Phase,
    Recommendation,
    Verb,
)
from lab.core.policies.base import Policy


@dataclass(frozen=True)
class Brain:
    """All that a decision depends on besides what was observed and remembered."""

    policy: Policy
    guards: tuple[Guard, ...]
    limits: Limits
    drain_deadline_s: float


def decide(brain: Brain, memory: Memory, observation: Observation) -> Decision:
    """What to do now. The same arguments always give the same decision."""
    current = len(planner.committed(observation))
    recommendation, policy_memory = brain.policy.recommend(memory.policy, observation, current)
    operator = observation.operator
    if operator.pin is not None:
        left = "" if operator.pin_left_s is None else f" for {operator.pin_left_s:.0f} s more"
        recommendation = Recommendation(operator.pin, f"pinned to {operator.pin} by hand{left}")
    asked = current if recommendation.servers is None else recommendation.servers
    bounds: tuple[Guard, ...] = (brain.limits,)
    if operator.pin is None and recommendation.servers is not None:
        bounds = (*brain.guards, brain.limits)
        wanted, notes, kept = guards.apply(bounds, memory.guards, observation, current, asked)
    else:
        wanted, notes, _ = guards.apply(bounds, (), observation, current, asked)
        kept = memory.guards
    actions = planner.plan(observation, wanted, brain.drain_deadline_s)
    if operator.paused or observation.unknown:
        actions = ()
    decision = Decision(
        wanted, recommendation, notes, actions, Memory(policy_memory, kept), sentence=""
    )
    return replace(decision, sentence=sentence(decision, observation, current))


def sentence(decision: Decision, observation: Observation, current: int) -> str:
    """One plain sentence: what is wanted, what that means for the servers, and why."""
    change = decision.wanted - current
    if change > 0:
        what = f"grow {current} → {decision.wanted}"
    elif change < 0:
        what = f"shrink {current} → {decision.wanted}"
    else:
        what = f"keep {current}"
    parts = [f"{what}: {decision.recommendation.formula}", *map(_guard_words, decision.guards)]
    doing = _actions_words(decision)
    if observation.unknown:
        parts.append(f"{observation.unknown}, so nothing is done")
    elif observation.operator.paused:
        parts.append("paused, so nothing is done")
    elif doing:
        parts.append(doing)
    broken = observation.in_phase(Phase.BROKEN)
    if broken:
        parts.append("broken: " + ", ".join(f"{slot.number} ({slot.fault})" for slot in broken))
    return "; ".join(parts)


def _guard_words(note: GuardNote) -> str:
    return f"{note.guard} makes it {note.after} ({note.why})"


def _actions_words(decision: Decision) -> str:
    words = []
    for verb in Verb:
        slots = [str(action.slot) for action in decision.actions if action.verb is verb]
        if slots:
            words.append(f"{verb} {', '.join(slots)}")
    return "; ".join(words)
