"""From a number to actions: read as what is seen, and all that is done about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.model import Observation, Phase, Slot, Verb
from lab.core.phases import ALLOWED
from lab.core.planner import committed, plan

E, S, B, W, J, V, D, X = (
    Phase.EMPTY,
    Phase.STOPPED,
    Phase.BOOTING,
    Phase.WARM,
    Phase.JOINING,
    Phase.SERVING,
    Phase.DRAINING,
    Phase.BROKEN,
)


def seen(*slots: Phase | Slot) -> Observation:
    made = [
        slot if isinstance(slot, Slot) else Slot(number, slot, for_s=100)
        for number, slot in enumerate(slots, 1)
    ]
    return Observation(0.0, tuple(made))


def told(observation: Observation, wanted: int) -> list[str]:
    return [str(action) for action in plan(observation, wanted, drain_deadline_s=30)]


def test_nothing_is_done_when_the_number_is_right():
    assert told(seen(V, V, S, E), 2) == []


def test_growing_takes_the_whole_difference_at_once():
    assert told(seen(V, E, E, E, E), 4) == ["serve 2", "serve 3", "serve 4"]


def test_growing_takes_what_serves_soonest():
    slots = seen(V, E, S, W, Slot(5, D, sessions=2))
    assert told(slots, 2) == ["serve 5"]
    assert told(slots, 3) == ["serve 5", "serve 4"]
    assert told(slots, 4) == ["serve 5", "serve 4", "serve 3"]
    assert told(slots, 5) == ["serve 5", "serve 4", "serve 3", "serve 2"]


def test_growing_counts_what_is_on_its_way():
    assert told(seen(V, Slot(2, B, doing=Verb.SERVE), Slot(3, E, doing=Verb.SERVE)), 3) == []


def test_shrinking_drains_the_fewest_sessions_then_the_youngest_then_the_highest_number():
    slots = seen(
        Slot(1, V, for_s=50, sessions=3),
        Slot(2, V, for_s=90, sessions=1),
        Slot(3, V, for_s=10, sessions=1),
        Slot(4, V, for_s=10, sessions=1),
    )
    assert told(slots, 3) == ["drain 4"]
    assert told(slots, 2) == ["drain 4", "drain 3"]
    assert told(slots, 1) == ["drain 4", "drain 3", "drain 2"]


def test_shrinking_calls_off_joins_before_it_drains():
    slots = seen(V, V, Slot(3, B, doing=Verb.SERVE))
    assert told(slots, 2) == ["park 3"]
    assert told(slots, 1) == ["park 3", "drain 2"]


def test_a_drained_server_is_parked_and_a_busy_one_is_not():
    assert told(seen(V, Slot(2, D, sessions=0), Slot(3, D, sessions=1)), 1) == ["park 2"]


def test_queued_requests_keep_a_draining_server():
    assert told(seen(V, Slot(2, D, queued=1)), 1) == []


def test_a_drain_past_its_deadline_is_cut():
    assert told(seen(V, Slot(2, D, for_s=31, sessions=1)), 1) == ["park 2"]


def test_a_broken_slot_is_removed_and_replaced():
    assert told(seen(V, X, E), 2) == ["remove 2", "serve 3"]


def test_when_all_are_broken_at_once_they_are_replaced_one_by_one():
    assert told(seen(X, X, X, E), 0) == ["remove 1"]
    assert told(seen(Slot(1, X, doing=Verb.REMOVE), X, X), 0) == []
    assert told(seen(V, X, X), 1) == ["remove 2", "remove 3"]


def test_nothing_is_asked_of_a_slot_with_an_action_under_way():
    slots = seen(V, Slot(2, X, doing=Verb.REMOVE), Slot(3, D, doing=Verb.PARK))
    assert told(slots, 1) == []


def test_a_slot_that_just_failed_is_left_alone():
    assert told(seen(V, Slot(2, E, fault="pool full"), E), 2) == ["serve 3"]


def test_containers_that_boot_for_nobody_are_used_or_stopped():
    assert told(seen(V, B), 2) == ["serve 2"]
    assert told(seen(V, B), 1) == ["park 2"]


SLOTS = st.builds(
    Slot,
    number=st.just(0),
    phase=st.sampled_from(Phase),
    for_s=st.floats(0, 100),
    sessions=st.integers(0, 9),
    queued=st.integers(0, 2),
    doing=st.none() | st.sampled_from(Verb),
    fault=st.sampled_from(["", "failed"]),
)


@st.composite
def observations(draw):
    slots = draw(st.lists(SLOTS, max_size=12))
    numbered = (
        Slot(n, s.phase, s.for_s, s.sessions, s.queued, s.doing, s.fault)
        for n, s in enumerate(slots, 1)
    )
    return Observation(0.0, tuple(numbered))


@given(observations(), st.integers(0, 15))
def test_no_action_is_forbidden_in_its_slots_phase(observation, wanted):
    by_number = {slot.number: slot for slot in observation.slots}
    for action in plan(observation, wanted, 30):
        slot = by_number[action.slot]
        assert action.verb in ALLOWED[slot.phase] or slot.doing is Verb.SERVE


@given(observations(), st.integers(0, 15))
def test_a_slot_gets_one_action_at_most_and_the_plan_is_deterministic(observation, wanted):
    actions = plan(observation, wanted, 30)
    assert len({action.slot for action in actions}) == len(actions)
    assert plan(observation, wanted, 30) == actions


@given(observations(), st.integers(0, 15))
def test_the_plan_reaches_the_number_and_never_passes_it(observation, wanted):
    actions = plan(observation, wanted, 30)
    before = len(committed(observation))
    serves = sum(action.verb is Verb.SERVE for action in actions)
    on_their_way = {slot.number for slot in committed(observation)}
    leaves = sum(action.slot in on_their_way for action in actions if action.verb is not Verb.SERVE)
    assert serves == 0 or leaves == 0
    assert before + serves <= max(before, wanted)
    assert before - leaves >= min(before, wanted)


@pytest.mark.parametrize("wanted", range(4))
def test_a_plan_that_is_carried_out_leaves_nothing_to_do(wanted):
    slots = list(seen(V, S, E, V).slots)
    for action in plan(Observation(0.0, tuple(slots)), wanted, 30):
        after = {Verb.SERVE: V, Verb.DRAIN: S, Verb.PARK: S, Verb.REMOVE: E}[action.verb]
        slots[action.slot - 1] = Slot(action.slot, after)
    assert plan(Observation(0.0, tuple(slots)), wanted, 30) == ()
