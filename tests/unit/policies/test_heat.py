"""Heat's and Senlin's adjustments, with the cases of their own tests.

Source: openstack/heat, heat/tests/autoscaling/test_new_capacity.py; openstack/senlin,
senlin/tests/unit/policies/test_scaling_policy.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.model import Observation, Phase, Slot, Verb
from lab.core.policies.adjustments import AdjustmentType, clamp, rounded_percent
from lab.core.policies.alarms import Comparison
from lab.core.policies.heat import Adjustment, Alarm, Variant, new_capacity, senlin_count

CHANGE = AdjustmentType.CHANGE_IN_CAPACITY
EXACT = AdjustmentType.EXACT_CAPACITY
PERCENT = AdjustmentType.PERCENT_CHANGE_IN_CAPACITY


@pytest.mark.parametrize(
    ("current", "adjustment", "kind", "minimum", "maximum", "expected"),
    [
        # TestCapacityChanges.scenarios
        pytest.param(2, 3, CHANGE, 0, 10, 5, id="+n"),
        pytest.param(6, -2, CHANGE, 0, 5, 4, id="-n"),
        pytest.param(2, 8, CHANGE, 0, 5, 5, id="+nb"),
        pytest.param(2, -10, CHANGE, 1, 5, 1, id="-nb"),
        pytest.param(2, 4, EXACT, 0, 5, 4, id="e"),
        pytest.param(2, 11, EXACT, 0, 5, 5, id="+eb"),
        pytest.param(4, 1, EXACT, 3, 5, 3, id="-eb"),
        pytest.param(4, 50, PERCENT, 1, 10, 6, id="+p"),
        pytest.param(4, -25, PERCENT, 1, 10, 3, id="-p"),
        pytest.param(4, 100, PERCENT, 1, 6, 6, id="+pb"),
        pytest.param(6, -50, PERCENT, 4, 10, 4, id="-pb"),
        pytest.param(2, -33, PERCENT, 0, 10, 1, id="-p+r"),
        pytest.param(1, 33, PERCENT, 0, 10, 2, id="+p+r"),
        pytest.param(2, -66, PERCENT, 0, 10, 1, id="-p-r"),
        pytest.param(1, 225, PERCENT, 0, 10, 3, id="+p-r"),
    ],
)
def test_heats_new_capacity(current, adjustment, kind, minimum, maximum, expected):
    assert new_capacity(current, adjustment, kind, None, minimum, maximum) == expected


@pytest.mark.parametrize(
    ("current", "percent", "step", "expected"),
    [(10, 10, 3, 13), (10, -10, 3, 7), (10, 50, 3, 15), (10, 10, 0, 11), (10, 0, 2, 8)],
)
def test_heats_smallest_step(current, percent, step, expected):
    assert new_capacity(current, percent, PERCENT, step, 0, 100) == expected
    assert new_capacity(current, 1, CHANGE, step, 0, 100) == current + 1


def test_contradicting_limits_are_taken_in_heats_order():
    assert clamp(9, 5, 3) == 3
    assert clamp(1, 5, 3) == 5


@given(st.integers(0, 1000), st.integers(-500, 500))
def test_a_percentage_moves_at_least_one_and_never_further_than_it_says(current, percent):
    delta = rounded_percent(current, percent)
    exact = current * percent / 100
    assert (delta > 0) == (exact > 0) and (delta < 0) == (exact < 0)
    assert abs(delta) <= max(1, abs(exact))


@pytest.mark.parametrize(
    ("current", "number", "kind", "step", "out", "expected"),
    [
        # test_calculate_adjustment_count
        (3, 1, EXACT, 1, False, 2),
        (3, 1, EXACT, 1, True, -2),
        (3, 1, CHANGE, 1, False, 1),
        (10, 50, PERCENT, 1, False, 5),
        (10, 1, PERCENT, 2, False, 2),
        (19, 10, PERCENT, 1, True, 1),
    ],
)
def test_senlins_count(current, number, kind, step, out, expected):
    assert senlin_count(current, number, kind, step, out) == expected


def senlin(number, kind, **settings):
    alarm = Alarm(0.15, Comparison.LESS, number, kind)
    return Adjustment(Variant.SENLIN, scale_down=alarm, min_size=1, **settings)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        # test_pre_op_*: a cluster of 3 with min_size 1, CLUSTER_SCALE_IN
        pytest.param(senlin(1, EXACT), 1, id="pass_without_input"),
        pytest.param(senlin(5, EXACT), 3, id="fail_negative_count"),
        pytest.param(senlin(3, CHANGE), 3, id="fail_below_min_size"),
        pytest.param(senlin(3, CHANGE, best_effort=True), 1, id="pass_best_effort"),
    ],
)
def test_senlins_policy(policy, expected):
    assert policy.adjusted(policy.scale_down, 3)[0] == expected


def test_senlin_refuses_to_grow_past_its_limit_unless_best_effort():
    grow = Alarm(0.5, Comparison.GREATER, 5)
    policy = Adjustment(Variant.SENLIN, scale_up=grow, max_size=6)
    assert policy.adjusted(grow, 3)[0] == 3
    assert replace(policy, best_effort=True).adjusted(grow, 3)[0] == 6


def seen(at_s, cpu, servers, coming=0):
    slots = tuple(
        Slot(number + 1, Phase.SERVING, cpus=cpu, cpus_limit=1.0) for number in range(servers)
    )
    more = tuple(Slot(100 + number, Phase.BOOTING, doing=Verb.SERVE) for number in range(coming))
    return Observation(at_s, slots + more)


def run(policy, *ticks):
    memory, told = None, []
    for at_s, cpu, servers, *coming in ticks:
        observation = seen(at_s, cpu, servers, *coming)
        recommendation, memory = policy.recommend(memory, observation, servers + sum(coming))
        told.append(recommendation.servers)
    return told


def test_one_adjustment_for_each_period_in_alarm():
    policy = replace(Adjustment(), scale_up=Alarm(0.5, Comparison.GREATER, 2, cooldown_s=0))
    assert run(policy, (0, 0.9, 2), (30, 0.9, 2), (60, 0.9, 2), (120, 0.9, 4)) == [2, 2, 4, 6]
    assert run(policy, (0, 0.1, 2), (60, 0.3, 2), (120, 0.3, 1)) == [2, 1, 1]


def test_refused_while_servers_still_come():
    told = run(Adjustment(), (0, 0.9, 2), (60, 0.9, 2), (120, 0.9, 2, 1), (180, 0.9, 3))
    assert told == [2, 3, 3, 4]


def test_refused_while_servers_still_go():
    _, memory = Adjustment().recommend(None, seen(0, 0.9, 2), 2)
    going = Observation(60, (*seen(60, 0.9, 2).slots, Slot(3, Phase.DRAINING, sessions=1)))
    recommendation, _ = Adjustment().recommend(memory, going, 2)
    assert recommendation.formula == "2, scaling in progress (1 servers still come or go)"


def test_refused_during_the_cooldown_of_the_alarm_that_changed_something():
    slow = Alarm(0.5, Comparison.GREATER, 1, cooldown_s=150)
    policy = replace(Adjustment(), scale_up=slow)
    ticks = [(60.0 * minute, 0.9, 2 if minute < 2 else 3) for minute in range(5)]
    assert run(policy, *ticks) == [2, 3, 3, 3, 4]


def test_no_cooldown_where_the_size_did_not_change():
    policy = replace(Adjustment(), max_size=3, scale_up=Alarm(0.5, Comparison.GREATER, 1))
    full = [(60.0 * minute, 0.9, 3) for minute in range(3)]
    assert run(policy, *full, (180, 0.1, 3)) == [3, 3, 3, 3]
    assert run(policy, *full, (150, 0.1, 3), (180, 0.1, 3)) == [3, 3, 3, 3, 3]
    assert run(policy, *full, (121, 0.01, 3), (180, 0.01, 3), (240, 0.01, 3))[-1] == 2


def test_an_earlier_cooldown_is_never_shortened():
    up = Alarm(0.5, Comparison.GREATER, 1, cooldown_s=0)
    policy = replace(Adjustment(), scale_up=up)
    _, memory = policy.recommend(None, seen(0, 0.9, 2), 2)
    memory = replace(memory, cooldown_end_s=50.0)
    _, memory = policy.recommend(memory, seen(60, 0.9, 2), 2)
    _, memory = policy.recommend(replace(memory, cooldown_end_s=500.0), seen(61, 0.9, 3), 3)
    assert memory.cooldown_end_s == 500


def test_unknown_holds():
    assert run(Adjustment(), (0, 0.1, 3), (60, None, 3), (120, 0.1, 3)) == [3, None, 3]


def test_the_formula_shows_the_numbers():
    _, memory = Adjustment().recommend(None, seen(0, 0.8, 4), 4)
    recommendation, _ = Adjustment().recommend(memory, seen(60, 0.8, 4), 4)
    assert recommendation.formula == "cpu 0.8 > 0.5: change_in_capacity +1 of 4 = 5"


@given(
    st.sampled_from(Variant),
    st.sampled_from(AdjustmentType),
    st.lists(st.tuples(st.none() | st.floats(0, 1), st.integers(1, 9)), min_size=1, max_size=25),
)
def test_always_within_limits_deterministic_and_holding_when_unknown(variant, kind, loads):
    policy = Adjustment(
        variant,
        period_s=1,
        min_size=1,
        max_size=9,
        scale_up=Alarm(0.5, Comparison.GREATER, 5, kind, cooldown_s=2),
        scale_down=Alarm(0.2, Comparison.LESS, -5, kind, cooldown_s=2),
    )
    memory = None
    for number, (load, current) in enumerate(loads):
        observation = seen(1.0 * number, load, current)
        once = policy.recommend(memory, observation, current)
        assert once == policy.recommend(memory, observation, current)
        recommendation, memory = once
        assert (recommendation.servers is None) == (load is None)
        assert recommendation.servers is None or 1 <= recommendation.servers <= 9
