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
    Opinion,
    Phase,
    PolicyMemory,
    Recommendation,
    Verb,
)
from lab.core.policies.base import Policy, has_own_guards


@dataclass(frozen=True)
class Brain:
    """All that a decision depends on besides what was observed and remembered."""

    policy: Policy
    guards: tuple[Guard, ...]
    limits: Limits
    drain_deadline_s: float
    shadows: tuple[Policy, ...] = ()
    """Policies that are asked the same and steer nothing. They see the servers that the steering
    one keeps, so each word is about this moment, not about what would have become of its own."""


def decide(brain: Brain, memory: Memory, observation: Observation) -> Decision:
    """What to do now. The same arguments always give the same decision."""
    current = len(planner.committed(observation))
    opinions: list[Opinion] = []
    kept: dict[str, PolicyMemory] = {}
    for policy in (brain.policy, *brain.shadows):
        before = memory.policies.get(policy.name, PolicyMemory())
        opinion, kept[policy.name] = _opinion(brain, policy, before, observation, current)
        opinions.append(opinion)
    steering = _by_hand(brain, observation, current) or opinions[0]
    actions = planner.plan(observation, steering.wanted, brain.drain_deadline_s)
    if observation.operator.paused or observation.unknown:
        actions = ()
    decision = Decision(
        steering.wanted,
        steering.recommendation,
        steering.guards,
        actions,
        Memory(kept),
        sentence="",
        shadows=tuple(opinions[1:]),
    )
    return replace(decision, sentence=sentence(decision, observation, current))


def _opinion(
    brain: Brain, policy: Policy, memory: PolicyMemory, observation: Observation, current: int
) -> tuple[Opinion, PolicyMemory]:
    recommendation, policy_memory = policy.recommend(memory.policy, observation, current)
    if recommendation.servers is None:
        # Nothing was recommended, so there is nothing that a guard could remember.
        wanted, notes, _ = guards.apply((brain.limits,), (), observation, current, current)
        guard_memories = memory.guards
    else:
        bounds = () if has_own_guards(policy) else brain.guards
        wanted, notes, guard_memories = guards.apply(
            (*bounds, brain.limits), memory.guards, observation, current, recommendation.servers
        )
    opinion = Opinion(policy.name, recommendation, notes, wanted)
    return opinion, PolicyMemory(policy_memory, guard_memories)


def _by_hand(brain: Brain, observation: Observation, current: int) -> Opinion | None:
    """A pin goes before every policy, and only the limits bound it."""
    operator = observation.operator
    if operator.pin is None:
        return None
    left = "" if operator.pin_left_s is None else f" for {operator.pin_left_s:.0f} s more"
    recommendation = Recommendation(operator.pin, f"pinned to {operator.pin} by hand{left}")
    wanted, notes, _ = guards.apply((brain.limits,), (), observation, current, operator.pin)
    return Opinion("pin", recommendation, notes, wanted)


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
