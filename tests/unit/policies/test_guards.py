"""The general guards: what each one bounds, when, and what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core import guards
from lab.core.guards import (
    Cooldown,
    FlapBudget,
    GrowStabilisation,
    GuardSettings,
    Hold,
    Limits,
    Rate,
    ShrinkStabilisation,
    Tolerance,
    build,
)
from lab.core.model import Metrics, Observation


def seen(at_s=0.0, in_flight=0):
    return Observation(at_s, (), Metrics(in_flight=in_flight, queued=in_flight))


def run(guard, *ticks):
    """Bounded numbers for (at_s, current, wanted), one after the other."""
    memory, told = None, []
    for at_s, current, wanted in ticks:
        bounded, why, memory = guard.bound(memory, seen(at_s), current, wanted)
        assert bool(why) == (bounded != wanted)
        told.append(bounded)
    return told


def test_limits():
    assert run(Limits(2, 5), (0, 3, 1), (0, 3, 4), (0, 3, 9)) == [2, 4, 5]


def test_hold_shrinks_nothing_that_it_knows_nothing_of():
    assert Hold().bound(None, seen(0, None), 4, 2)[:2] == (4, "in_flight and queued unknown")
    assert Hold().bound(None, seen(0, None), 4, 6)[0] == 6
    assert Hold().bound(None, seen(0, 3), 4, 2)[0] == 2


def test_tolerance_leaves_small_changes_out():
    assert run(Tolerance(0.25), (0, 4, 5), (0, 4, 3), (0, 4, 6), (0, 3, 4), (0, 0, 1)) == [
        4,
        4,
        6,
        4,
        1,
    ]
    assert Tolerance(0.25).bound(None, seen(), 4, 5)[1] == "+1 is within 25% of 4"


def test_shrinking_waits_for_the_largest_of_the_window():
    ticks = [(0, 4, 2), (4, 4, 3), (8, 4, 2), (9, 3, 2), (12.1, 3, 2)]
    assert run(ShrinkStabilisation(8), *ticks) == [4, 4, 3, 3, 2]


def test_growing_waits_for_the_smallest_of_the_window():
    ticks = [(0, 2, 5), (4, 2, 4), (8, 2, 6), (9, 4, 6), (12.1, 4, 7)]
    assert run(GrowStabilisation(8), *ticks) == [2, 2, 4, 4, 6]


def test_each_direction_has_its_own_cooldown():
    grown = [(0, 2, 4), (1, 4, 6), (5, 4, 6), (6, 6, 6), (7, 6, 2)]
    assert run(Cooldown(5, 60), *grown) == [4, 4, 6, 6, 6]
    assert run(Cooldown(60, 5), (0, 4, 2), (4, 2, 1), (5, 2, 1), (6, 1, 9)) == [2, 2, 1, 1]


def test_a_change_that_did_not_come_about_starts_no_cooldown():
    assert run(Cooldown(60, 60), (0, 2, 4), (1, 2, 4), (2, 2, 1)) == [4, 4, 1]


def test_a_server_that_broke_starts_no_cooldown():
    assert run(Cooldown(60, 60), (0, 4, 4), (1, 3, 4)) == [4, 4]


def test_growth_by_servers_in_a_period():
    ticks = [(0, 2, 9), (1, 4, 9), (9.9, 4, 9), (10, 4, 9), (11, 6, 1)]
    assert run(Rate(True, 2, 0, 10), *ticks) == [4, 4, 4, 6, 1]


def test_growth_by_percent_of_those_at_the_beginning():
    ticks = [(0, 4, 99), (1, 6, 99), (10, 6, 99)]
    assert run(Rate(True, 0, 50, 10), *ticks) == [6, 6, 9]
    assert run(Rate(True, 1, 10, 10), (0, 40, 99)) == [44]
    assert run(Rate(True, 0, 10, 10), (0, 1, 99)) == [2]


def test_shrinking_by_servers_and_percent():
    assert run(Rate(False, 1, 0, 10), (0, 9, 2), (1, 8, 2), (10, 8, 2), (11, 7, 9)) == [8, 8, 7, 9]
    assert run(Rate(False, 0, 50, 10), (0, 9, 0), (1, 4, 0)) == [4, 4]


def test_a_rate_never_turns_growing_into_shrinking():
    """More than the rate came at once, because somebody else added servers too."""
    assert run(Rate(True, 1, 0, 60), (0, 2, 3), (1, 6, 9)) == [3, 6]


def test_a_flap_budget_of_two_turns():
    ticks = [(0, 2, 4), (1, 4, 2), (2, 2, 4), (3, 4, 2), (3.5, 4, 6), (4, 6, 2), (101.5, 6, 2)]
    assert run(FlapBudget(2, 100), *ticks) == [4, 2, 4, 4, 6, 6, 2]


def test_flap_budget_says_why():
    memory = None
    for at_s, current, wanted in [(0, 2, 4), (1, 4, 2), (2, 2, 4)]:
        _, why, memory = FlapBudget(1, 100).bound(memory, seen(at_s), current, wanted)
    assert why == "1 turns within 100 s"


def test_all_but_hold_and_the_shrink_window_are_off_by_default():
    assert build(GuardSettings()) == (ShrinkStabilisation(8), Hold())
    assert build(GuardSettings(hold_on_unknown=False, shrink_after_s=0)) == ()


def test_what_is_switched_on_runs_in_its_order():
    names = [
        guard.name
        for guard in build(
            GuardSettings(
                tolerance=0.1,
                grow_after_s=1,
                grow_cooldown_s=1,
                grow_servers=1,
                shrink_percent=10,
                flap_budget=3,
            )
        )
    ]
    assert names == [
        "tolerance",
        "grow_after",
        "shrink_after",
        "cooldown",
        "grow_rate",
        "shrink_rate",
        "flap_budget",
        "hold",
    ]


ALL = build(
    GuardSettings(
        tolerance=0.2,
        grow_after_s=2,
        shrink_after_s=4,
        grow_cooldown_s=1,
        shrink_cooldown_s=3,
        grow_servers=2,
        shrink_percent=50,
        flap_budget=2,
        flap_window_s=20,
    )
)


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(0, 20), st.none() | st.integers(0, 5)),
        min_size=1,
        max_size=30,
    )
)
@pytest.mark.parametrize("chosen", [(guard,) for guard in ALL] + [ALL], ids=lambda c: c[0].name)
def test_every_guard_goes_between_where_it_is_and_where_it_is_told_and_says_so(chosen, ticks):
    memories = ()
    for number, (current, wanted, load) in enumerate(ticks):
        observation = seen(1.0 * number, load)
        once = guards.apply(chosen, memories, observation, current, wanted)
        assert once == guards.apply(chosen, memories, observation, current, wanted)
        bounded, notes, memories = once
        assert min(current, wanted) <= bounded <= max(current, wanted)
        assert (bounded == wanted) == (not notes)
        assert all(note.why and note.before != note.after for note in notes)
