"""Nomad's strategies, with the cases of their own tests.

Source: hashicorp/nomad-autoscaler, plugins/builtin/strategy/{target-value,threshold,pass-through}
and sdk/strategy_test.go.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.metrics import Metric
from lab.core.model import Metrics, Observation, Phase, Slot
from lab.core.policies.nomad import (
    Action,
    Direction,
    NomadTarget,
    NomadThreshold,
    OnCheckError,
    ThresholdCheck,
    capped,
    prefer,
    winner,
)

UP, DOWN, NONE = Direction.UP, Direction.DOWN, Direction.NONE


@pytest.mark.parametrize(
    ("settings", "metric", "count", "expected"),
    [
        # target-value, TestStrategyPlugin_Run
        pytest.param({"target": 13}, 13, 2, 2, id="factor equals 1"),
        pytest.param({"target": 13}, 26, 2, 4, id="factor greater than 1"),
        pytest.param({"target": 10}, 20, 0, 2, id="scale from 0 with non-zero target"),
        pytest.param({"target": 10}, 9, 1, 1, id="small target/metric difference"),
        pytest.param({"target": 0}, 1, 0, 1, id="scale from 0 with 0 target"),
        pytest.param({"target": 0}, 0, 5, 0, id="scale to 0 with 0 target"),
        pytest.param({"target": 10}, 0, 0, 0, id="0 stays 0"),
        pytest.param({"target": 5}, 5.00001, 8, 8, id="small factor change"),
        pytest.param({"target": 5, "threshold": 0.000001}, 5.00001, 8, 9, id="small threshold"),
        # The documentation's example: 10 instances at 80 % of a target of 70 %
        pytest.param({"target": 70}, 80, 10, 12, id="documentation"),
        pytest.param({"target": 10, "max_scale_up": 3}, 100, 5, 8, id="max_scale_up"),
        pytest.param({"target": 10, "max_scale_down": 2}, 1, 9, 7, id="max_scale_down"),
    ],
)
def test_target_value(settings, metric, count, expected):
    assert NomadTarget(**settings).strategy(count, metric).count == expected


@pytest.mark.parametrize(
    ("count", "factor", "threshold", "expected"),
    [
        # TestStrategyPlugin_calculateDirection
        (0, 1, 0, UP),
        (5, 1, 0, NONE),
        (4, 0.5, 0, DOWN),
        (5, 2, 0, UP),
        (5, 1.0001, 0.01, NONE),
        (5, 1.02, 0.01, UP),
        (5, 0.99, 0.01, NONE),
        (50, 0.98, 0.01, DOWN),
    ],
)
def test_direction(count, factor, threshold, expected):
    policy = NomadTarget(target=1, threshold=threshold)
    assert policy.strategy(count, factor).direction is expected


TENS = [10.0] * 6
ONE_TEN = [10.0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("count", "values", "settings", "expected", "direction"),
    [
        # threshold, TestThresholdPlugin: bounds 5 and 20
        pytest.param(1, TENS, {"delta": 1}, 2, UP, id="delta scale up"),
        pytest.param(1, TENS, {"delta": -1}, 0, DOWN, id="delta scale down"),
        pytest.param(10, TENS, {"percentage": 30}, 13, UP, id="percentage scale up"),
        pytest.param(10, TENS, {"percentage": -30}, 7, DOWN, id="percentage scale down"),
        pytest.param(10, TENS, {"percentage": 0}, 10, NONE, id="percentage scale none"),
        pytest.param(1, TENS, {"value": 10}, 10, UP, id="value scale up"),
        pytest.param(20, TENS, {"value": 10}, 10, DOWN, id="value scale down"),
        pytest.param(10, TENS, {"value": 10}, 10, NONE, id="value scale none"),
        pytest.param(1, ONE_TEN, {"delta": 1}, 1, NONE, id="not enough metrics within bounds"),
        pytest.param(
            1, ONE_TEN, {"delta": 1, "within_bounds_trigger": 1}, 2, UP, id="custom trigger"
        ),
    ],
)
def test_threshold(count, values, settings, expected, direction):
    check = ThresholdCheck(lower_bound=5, upper_bound=20, **settings)
    action = check.strategy(count, values)
    assert (action.count, action.direction) == (expected, direction)


def test_the_lower_bound_is_within_and_the_upper_is_not():
    check = ThresholdCheck(lower_bound=5, upper_bound=20, delta=1, within_bounds_trigger=1)
    assert check.strategy(1, [5]).direction is UP
    assert check.strategy(1, [20]).direction is NONE


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"delta": 1}, "either lower_bound or upper_bound"),
        ({"lower_bound": 5}, "either delta, percentage or value"),
        ({"lower_bound": 5, "delta": 1, "value": 10}, "only one of delta, percentage or value"),
    ],
)
def test_a_check_that_nomad_refuses_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        ThresholdCheck(**settings)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # TestPreemptAction
        ((NONE, 0), (NONE, 0), (NONE, 0)),
        ((NONE, 0), (DOWN, 0), (NONE, 0)),
        ((NONE, 0), (UP, 0), (UP, 0)),
        ((DOWN, 0), (NONE, 0), (NONE, 0)),
        ((DOWN, 1), (DOWN, 2), (DOWN, 2)),
        ((DOWN, 2), (DOWN, 1), (DOWN, 2)),
        ((DOWN, 2), (DOWN, 2), (DOWN, 2)),
        ((DOWN, 0), (UP, 0), (UP, 0)),
        ((UP, 0), (NONE, 0), (UP, 0)),
        ((UP, 0), (DOWN, 0), (UP, 0)),
        ((UP, 1), (UP, 2), (UP, 2)),
        ((UP, 2), (UP, 1), (UP, 2)),
        ((UP, 2), (UP, 2), (UP, 2)),
    ],
)
def test_which_action_goes_before(first, second, expected):
    best = prefer(Action(*first, ""), Action(*second, ""))
    assert (best.direction, best.count) == expected


def test_no_action_goes_behind_any():
    action = Action(DOWN, 1, "")
    assert prefer(None, action) is prefer(action, None) is action


def test_within_a_group_a_check_that_wants_nothing_is_no_vote():
    down, none, up = Action(DOWN, 1, ""), Action(NONE, 2, ""), Action(UP, 3, "")
    assert winner([[none, down]]) is down
    assert winner([[none], [down]]) is none
    assert winner([[none, down], [none, up]]) is up
    assert winner([[none, none]]) is none
    assert winner([]) is None


@pytest.mark.parametrize(
    ("action", "current", "expected"),
    [
        # base_worker.go: capped to the policy's limits, also where a check wanted nothing
        (Action(UP, 15, ""), 7, (UP, 10)),
        (Action(DOWN, 4, ""), 7, (DOWN, 5)),
        (Action(DOWN, 4, ""), 5, (NONE, 5)),
        (Action(NONE, 3, ""), 3, (UP, 5)),
        (Action(NONE, 12, ""), 12, (DOWN, 10)),
        (Action(NONE, 7, ""), 7, (NONE, 7)),
    ],
)
def test_limits(action, current, expected):
    got = capped(action, current, 5, 10)
    assert (got.direction, got.count) == expected


def seen(at_s, each, servers, p95=None):
    """`servers` servers with so many requests each."""
    slots = tuple(Slot(number + 1, Phase.SERVING) for number in range(servers))
    load = None if each is None else round(each * servers)
    return Observation(at_s, slots, Metrics(in_flight=load, queued=0, p95_ms=p95))


def run(policy, *ticks):
    memory, told = None, []
    for at_s, each, servers in ticks:
        recommendation, memory = policy.recommend(memory, seen(at_s, each, servers), servers)
        told.append(recommendation.servers)
    return told


TARGET = NomadTarget(target=5)


def test_evaluated_every_ten_seconds():
    assert run(TARGET, (0, 5, 2), (5, 50, 2), (9.75, 50, 2), (10, 50, 2)) == [2, 2, 2, 20]


def test_cooldown_follows_an_action_and_is_the_same_for_both_directions():
    ticks = [(0, 10, 2), (10, 10, 4), (299.75, 10, 4), (300, 10, 4), (310, 1, 8), (600, 1, 8)]
    assert run(TARGET, *ticks) == [4, 4, 4, 8, 8, 2]


def test_a_cooldown_of_its_own_after_growing():
    policy = replace(TARGET, cooldown_on_scale_up_s=20)
    assert run(policy, (0, 10, 2), (10, 10, 4), (20, 10, 4), (40, 1, 8), (60, 20, 2)) == [
        4,
        4,
        8,
        2,
        2,
    ]


def test_an_action_that_did_not_come_about_starts_no_cooldown():
    assert run(TARGET, (0, 10, 2), (10, 15, 2), (20, 10, 2)) == [4, 6, 4]


def test_the_count_that_was_set_stands_when_a_server_breaks():
    assert run(TARGET, (0, 10, 2), (5, 10, 4), (8, 10, 3)) == [4, 4, 4]


def test_while_all_servers_still_boot_the_load_is_shared_among_them():
    booting = tuple(Slot(number + 1, Phase.BOOTING) for number in range(4))
    observation = Observation(0, booting, Metrics(in_flight=0, queued=40))
    assert TARGET.recommend(None, observation, 4)[0].servers == 8


def test_unknown_holds():
    assert run(TARGET, (0, 10, 2), (10, None, 4), (400, None, 4)) == [4, None, None]


EAGER = NomadThreshold(evaluation_interval_s=1, cooldown_s=0)


def test_threshold_needs_five_samples_of_a_minute_and_grows_by_its_delta():
    told = run(EAGER, *[(float(second), 4, 2) for second in range(6)])
    assert told == [2, 2, 2, 2, 3, 3]


def test_threshold_shrinks_though_the_other_check_of_its_group_wants_nothing():
    assert run(EAGER, *[(float(second), 0.5, 4) for second in range(5)])[-1] == 3


def test_checks_of_no_group_keep_each_other_from_shrinking():
    alone = replace(EAGER, checks=tuple(replace(check, group="") for check in EAGER.checks))
    assert run(alone, *[(float(second), 0.5, 4) for second in range(5)])[-1] == 4


def test_old_samples_leave_the_window():
    busy = [(float(second), 4, 2) for second in range(4)]
    assert run(EAGER, *busy, (62.5, 4, 2), (63.5, 4, 2))[-1] == 2


BOTH = NomadThreshold(
    checks=(
        ThresholdCheck(Metric.CONCURRENCY, upper_bound=1, delta=-1, within_bounds_trigger=1),
        ThresholdCheck(Metric.P95_MS, lower_bound=500, delta=1, within_bounds_trigger=1),
    ),
)


@pytest.mark.parametrize("on_error", OnCheckError)
def test_a_check_without_a_metric_never_lets_the_others_shrink(on_error):
    policy = replace(BOTH, on_check_error=on_error)
    assert policy.recommend(None, seen(0, 0, 4), 4)[0].servers is None


def test_a_check_without_a_metric_lets_the_others_grow_unless_it_fails_them():
    growing = replace(BOTH, checks=(BOTH.checks[1], BOTH.checks[0]))
    observation = seen(0, None, 4, p95=900)
    assert growing.recommend(None, observation, 4)[0].servers == 5
    failing = replace(growing, on_check_error=OnCheckError.FAIL)
    assert failing.recommend(None, observation, 4)[0].servers is None


def test_the_formulas_show_the_numbers():
    recommendation, _ = NomadTarget(target=5, max_scale_up=2).recommend(None, seen(0, 10, 4), 4)
    assert recommendation.formula == (
        "concurrency 10 / 5 = 2.0000, ceil(4 × 2.0000) = 8; the largest step makes it 6"
    )
    recommendation, _ = NomadThreshold().recommend(None, seen(0, 10, 4), 4)
    assert recommendation.formula == "1 samples of concurrency in [3, inf), 5 needed"


def test_a_threshold_policy_has_checks():
    with pytest.raises(ValueError, match="at least one check"):
        NomadThreshold(checks=())


@given(
    st.sampled_from(
        [NomadTarget(target=2, min=1, max=9, cooldown_s=3), replace(EAGER, min=1, max=9)]
    ),
    st.lists(
        st.tuples(st.none() | st.integers(0, 90), st.integers(0, 12)), min_size=1, max_size=25
    ),
)
def test_always_within_limits_deterministic_and_holding_when_unknown(policy, loads):
    memory = None
    for number, (load, current) in enumerate(loads):
        observation = seen(2.0 * number, load, current)
        once = policy.recommend(memory, observation, current)
        assert once == policy.recommend(memory, observation, current)
        recommendation, memory = once
        assert (recommendation.servers is None) == (load is None)
        if recommendation.servers is not None and memory.count == recommendation.servers:
            assert 1 <= recommendation.servers <= 9
