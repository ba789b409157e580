"""From a number of servers to actions on slots.

Growing takes the slots that can serve soonest: draining ones back, then those that already boot,
then warm, stopped and empty ones. Shrinking first calls off joins that have not happened, then
drains the servers with the fewest sessions, the youngest first, then the highest number.
A slot with an action under way is asked nothing more, except to call a join off; one whose last
action failed is left alone for as long as the world reports the fault.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.core.model import Action, Observation, Phase, Slot, Verb
from lab.core.phases import ALLOWED

SOONEST = (
    Phase.DRAINING,
    Phase.JOINING,
    Phase.BOOTING,
    Phase.WARM,
    Phase.STOPPED,
    Phase.EMPTY,
)


def committed(observation: Observation) -> tuple[Slot, ...]:
    """The slots that serve or are on their way to."""
    return tuple(slot for slot in observation.slots if _serves(slot) or slot.doing is Verb.SERVE)


def plan(observation: Observation, wanted: int, drain_deadline_s: float) -> tuple[Action, ...]:
    """The actions that lead from what is observed to `wanted` serving slots."""
    difference = wanted - len(committed(observation))
    actions = [*_replace_broken(observation)]
    if difference > 0:
        actions += _grow(observation, difference)
    else:
        actions += _shrink(observation, -difference)
    taken = {action.slot for action in actions}
    actions += [a for a in _finish_drains(observation, drain_deadline_s) if a.slot not in taken]
    taken = {action.slot for action in actions}
    actions += [a for a in _stop_leftovers(observation) if a.slot not in taken]
    return tuple(actions)


def _serves(slot: Slot) -> bool:
    return slot.phase is Phase.SERVING and slot.doing is None


def _idle(slot: Slot, verb: Verb) -> bool:
    return slot.doing is None and verb in ALLOWED[slot.phase]


def _replace_broken(observation: Observation) -> Iterator[Action]:
    """All of them; but only one at a time while none serves.

    When every server fails at once, what they share has failed (the shared directory, the host),
    and they come back by themselves with it. One is replaced all the same, in case they do not.
    """
    broken = observation.in_phase(Phase.BROKEN)
    if len(broken) > 1 and observation.serving == 0:
        broken = () if any(slot.doing for slot in observation.slots) else broken[:1]
    for slot in broken:
        if _idle(slot, Verb.REMOVE):
            yield Action(Verb.REMOVE, slot.number, slot.fault or "broken")


def _grow(observation: Observation, count: int) -> list[Action]:
    candidates = [
        slot
        for slot in observation.slots
        if slot.phase is not Phase.SERVING and _idle(slot, Verb.SERVE) and not slot.fault
    ]
    candidates.sort(key=lambda slot: (SOONEST.index(slot.phase), slot.number))
    return [Action(Verb.SERVE, slot.number, f"was {slot.phase}") for slot in candidates[:count]]


def _shrink(observation: Observation, count: int) -> list[Action]:
    joins = [
        slot
        for slot in committed(observation)
        if slot.doing is Verb.SERVE and slot.phase in (Phase.BOOTING, Phase.JOINING)
    ]
    joins.sort(key=lambda slot: (slot.for_s, -slot.number))
    calls_off = [Action(Verb.PARK, slot.number, "no longer needed") for slot in joins[:count]]
    servers = [slot for slot in observation.slots if _serves(slot)]
    servers.sort(key=lambda slot: (slot.sessions, slot.for_s, -slot.number))
    victims = servers[: count - len(calls_off)]
    return calls_off + [
        Action(Verb.DRAIN, slot.number, f"{slot.sessions} sessions, for {slot.for_s:.0f} s")
        for slot in victims
    ]


def _finish_drains(observation: Observation, deadline_s: float) -> Iterator[Action]:
    for slot in observation.in_phase(Phase.DRAINING):
        if not _idle(slot, Verb.PARK):
            continue
        if slot.sessions == 0 and slot.queued == 0:
            yield Action(Verb.PARK, slot.number, "drained")
        elif slot.for_s > deadline_s:
            why = f"{slot.sessions} sessions past the {deadline_s:g} s deadline"
            yield Action(Verb.PARK, slot.number, why)


def _stop_leftovers(observation: Observation) -> Iterator[Action]:
    """Containers that boot and that nobody asked for: an earlier scaler's, or a person's."""
    for slot in observation.in_phase(Phase.BOOTING, Phase.JOINING):
        if _idle(slot, Verb.PARK):
            yield Action(Verb.PARK, slot.number, "runs without serving")
