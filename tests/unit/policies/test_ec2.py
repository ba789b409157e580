"""EC2's policies, with the worked examples of the Amazon EC2 Auto Scaling User Guide."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.changes import Change, Changes
from lab.core.metrics import Metric
from lab.core.model import Metrics, Observation, Phase, Slot
from lab.core.policies.adjustments import AdjustmentType, rounded_percent
from lab.core.policies.alarms import Comparison, Datapoints
from lab.core.policies.ec2 import (
    StepAdjustment,
    StepRule,
    TargetTracking,
    Tracked,
    adjusted,
    agreed,
    warm_mean,
    warmed,
)
from lab.core.policies.ec2_step import SCALE_IN, SCALE_OUT, Simple, SimpleRule, Step

CHANGE = AdjustmentType.CHANGE_IN_CAPACITY
EXACT = AdjustmentType.EXACT_CAPACITY
PERCENT = AdjustmentType.PERCENT_CHANGE_IN_CAPACITY


def seen(at_s, cpu, servers, concurrency=None, for_s=1e5):
    slots = tuple(
        Slot(number + 1, Phase.SERVING, for_s, cpus=cpu, cpus_limit=1.0)
        for number in range(servers)
    )
    return Observation(at_s, slots, Metrics(in_flight=concurrency, queued=0))


def run(policy, *ticks, memory=None):
    told = []
    for at_s, cpu, servers in ticks:
        recommendation, memory = policy.recommend(memory, seen(at_s, cpu, servers), servers)
        told.append(recommendation.servers)
    return told


class TestAlarms:
    def test_a_period_counts_when_it_is_over_with_the_mean_of_its_samples(self):
        points = Datapoints()
        for at_s, value in [(0, 1), (20, 2), (40, 6), (60, 9)]:
            points = points.add(at_s, value, 60, 3)
        assert points.means == (3,)
        assert (points.begun_s, points.sum, points.samples) == (60, 9, 1)

    def test_periods_of_which_nothing_is_known_breach_nothing(self):
        points = Datapoints()
        for at_s, value in [(0, 9), (60, 9), (120, None), (180, 9), (240, 9)]:
            points = points.add(at_s, value, 60, 4)
        assert points.means == (9, 9, None, 9)
        assert points.breach(Comparison.GREATER, 5, 1)
        assert not points.breach(Comparison.GREATER, 5, 2)
        assert not points.breach(Comparison.GREATER, 5, 5)

    def test_a_long_silence_is_as_many_unknown_periods(self):
        points = Datapoints().add(0, 9, 60, 3).add(1e9, 9, 60, 3)
        assert points.means == (9, None, None, None)[-3:]


@pytest.mark.parametrize(
    ("current", "kind", "adjustment", "magnitude", "expected"),
    [
        # User guide, "Scaling adjustment types": 12.7 → 12, 0.67 → 1, -0.58 → -1, -6.67 → -6
        (100, PERCENT, 12.7, 0, 112),
        (100, PERCENT, 0.67, 0, 101),
        (100, PERCENT, -0.58, 0, 99),
        (100, PERCENT, -6.67, 0, 94),
        (10, PERCENT, 10, 0, 11),
        (10, PERCENT, 0, 3, 10),
        # "MinAdjustmentMagnitude": 25 % of 4 is 1, of which 2 are made
        (4, PERCENT, 25, 2, 6),
        (4, PERCENT, -25, 2, 2),
        (4, CHANGE, 1, 2, 5),
        (10, CHANGE, 5, 0, 15),
        (10, CHANGE, -3, 0, 7),
        (3, EXACT, 5, 0, 5),
    ],
)
def test_adjustment_types(current, kind, adjustment, magnitude, expected):
    if isinstance(adjustment, float):
        assert current + rounded_percent(current, adjustment) == expected
    else:
        assert adjusted(current, kind, adjustment, magnitude)[0] == expected


class TestStep:
    @pytest.mark.parametrize(
        ("metric", "current", "warm", "expected"),
        [
            # User guide, "Step adjustments": a group of 10 with a threshold of 50 %
            pytest.param(0.55, 10, 10, 10, id="within 10 % of the threshold: no change"),
            pytest.param(0.6, 10, 10, 11, id="60: 10 % of 10"),
            pytest.param(0.7, 11, 11, 14, id="70: 30 % of 11 is 3.3"),
            pytest.param(0.4, 14, 14, 13, id="40: 10 % of 14 is 1.4"),
            pytest.param(0.3, 13, 13, 10, id="30: 30 % of 13 is 3.9"),
            pytest.param(0.45, 10, 10, 10, id="45: no change"),
            # User guide, "Set the warm-up time": what warms up counts as added
            pytest.param(0.62, 11, 10, 11, id="62 while one warms up: nothing more"),
            pytest.param(0.7, 11, 10, 13, id="70 while one warms up: 3 of 10, so 2 more"),
            pytest.param(0.3, 13, 10, 13, id="no shrinking while servers warm up"),
        ],
    )
    def test_documented_example(self, metric, current, warm, expected):
        rule = SCALE_OUT if metric >= 0.5 else SCALE_IN
        assert Step().adjust(rule, metric, current, warm)[0] == expected

    @pytest.mark.parametrize(
        ("rule", "value", "adjustment"),
        [
            # API reference, StepAdjustment: threshold 50, which side of a bound is within
            (SCALE_OUT, 0.5, 0),
            (SCALE_OUT, 0.599, 0),
            (SCALE_OUT, 0.6, 10),
            (SCALE_OUT, 0.7, 30),
            (SCALE_IN, 0.5, 0),
            (SCALE_IN, 0.4, -10),
            (SCALE_IN, 0.401, 0),
            (SCALE_IN, 0.3, -30),
        ],
    )
    def test_the_bounds(self, rule, value, adjustment):
        assert rule.step(value).scaling_adjustment == adjustment

    @pytest.mark.parametrize(
        ("steps", "said"),
        [
            ((), "at least one step"),
            ((StepAdjustment(1, 0, 10), StepAdjustment(2, 20)), "overlap or have a gap"),
            ((StepAdjustment(1, 0, 10), StepAdjustment(2, 5)), "overlap or have a gap"),
            ((StepAdjustment(1, 10, 0),), "below its upper bound"),
        ],
    )
    def test_steps_that_ec2_refuses_are_refused(self, steps, said):
        with pytest.raises(ValueError, match=said):
            StepRule(0.5, Comparison.GREATER, steps)

    def test_over_time(self):
        policy = Step(estimated_instance_warmup_s=90)
        ticks = [(0, 0.9, 10), (30, 0.9, 10), (60, 0.9, 10), (61, 0.9, 13), (120, 0.8, 13),
                 (180, 0.1, 13), (240, 0.1, 16), (300, 0.1, 16)]  # fmt: skip
        assert run(policy, *ticks) == [10, 10, 13, 13, 13, 16, 16, 12]

    def test_exact_capacity(self):
        exact = replace(SCALE_OUT, adjustment_type=EXACT, step_adjustments=(StepAdjustment(4, 0),))
        assert Step(scale_out=exact).adjust(exact, 0.9, 2, 2)[0] == 4


class TestTargetTracking:
    def test_grows_after_three_periods_above_the_target(self):
        told = run(TargetTracking(), *[(60.0 * minute, 0.8, 4) for minute in range(4)])
        assert told == [4, 4, 4, 7]  # ceil(4 × 0.8 / 0.5)

    def test_shrinks_after_fifteen_periods_well_below_it(self):
        told = run(TargetTracking(), *[(60.0 * minute, 0.2, 4) for minute in range(16)])
        assert told == [4] * 15 + [2]

    def test_within_the_margin_below_the_target_nothing_happens(self):
        told = run(TargetTracking(), *[(60.0 * minute, 0.46, 4) for minute in range(30)])
        assert set(told) == {4}

    def test_servers_that_warm_up_count_as_added_and_block_shrinking(self):
        policy = TargetTracking()
        points = Datapoints((0.8,) * 3)
        assert policy.wanted(Tracked(), points, 7, 4)[0] == 7
        assert policy.wanted(Tracked(), Datapoints((1.0,) * 3), 7, 4)[0] == 8
        assert policy.wanted(Tracked(), Datapoints((0.1,) * 15), 7, 4)[0] == 7
        assert policy.wanted(Tracked(), Datapoints((0.1,) * 15), 7, 7)[0] == 2

    def test_growth_warms_up_for_as_long_as_it_is_told(self):
        changes = Changes((Change(0, 3), Change(50, 2), Change(60, -1)))
        assert [warmed(changes, at_s, 9, 100) for at_s in (61, 100, 150)] == [4, 7, 9]

    def test_a_server_that_warms_up_is_not_in_the_mean(self):
        slots = (Slot(1, Phase.SERVING, 500, cpus=0.2), Slot(2, Phase.SERVING, 5, cpus=1.0))
        observation = Observation(0, slots)
        assert warm_mean(Metric.CPU, observation, 2, 300) == 0.2
        assert warm_mean(Metric.CPU, observation, 2, 600) == 0.6

    @pytest.mark.parametrize(
        ("wants", "expected"),
        [
            # any may grow, all must agree to shrink
            ([(4, False), (7, False)], 7),
            ([(3, False), (7, False)], 7),
            ([(3, False), (5, False)], 5),
            ([(3, False), (2, False)], 3),
            ([(2, True), (3, False)], 3),
            ([(2, True)], 5),
        ],
    )
    def test_several_targets(self, wants, expected):
        assert agreed(5, [((servers, ""), disabled) for servers, disabled in wants])[0] == expected

    def test_an_unknown_metric_lets_the_others_grow_and_not_shrink(self):
        both = (Tracked(), Tracked(Metric.CONCURRENCY, 3))
        policy = TargetTracking(both, datapoints_to_scale_in=1, datapoints_to_scale_out=1)
        assert run(policy, (0, 0.9, 4), (60, 0.9, 4)) == [4, 8]
        assert run(policy, (0, 0.1, 4), (60, 0.1, 4)) == [4, 4]
        quiet = [policy.recommend(None, seen(0, 0.1, 4, 0), 4)[1]]
        recommendation, _ = policy.recommend(quiet[0], seen(60, 0.1, 4, None), 4)
        assert recommendation.servers is None

    def test_all_unknown_holds(self):
        assert run(TargetTracking(), (0, None, 4), (60, None, 4)) == [None, None]

    def test_the_formula_shows_the_numbers(self):
        _, memory = TargetTracking(datapoints_to_scale_out=1).recommend(None, seen(0, 0.8, 4), 4)
        recommendation, _ = TargetTracking(datapoints_to_scale_out=1).recommend(
            memory, seen(60, 0.8, 4), 4
        )
        assert recommendation.formula == "ceil(4 warm × cpu 0.8 of target 0.5) = 7"

    def test_targets_are_needed(self):
        with pytest.raises(ValueError, match="at least one target"):
            TargetTracking(())


class TestSimple:
    def test_one_adjustment_and_then_the_cooldown(self):
        ticks = [(60.0 * minute, 0.9, 2 if minute < 2 else 3) for minute in range(8)]
        assert run(Simple(), *ticks) == [2, 3, 3, 3, 3, 3, 4, 4]

    def test_a_cooldown_of_its_own(self):
        policy = Simple(scale_in=SimpleRule(0.3, Comparison.LESS, -1, cooldown_s=100))
        assert run(policy, (0, 0.1, 5), (60, 0.1, 5), (120, 0.1, 4), (180, 0.1, 4)) == [5, 4, 4, 3]

    def test_between_the_thresholds_nothing_happens(self):
        assert run(Simple(), *[(60.0 * minute, 0.5, 2) for minute in range(5)]) == [2] * 5


@given(
    st.sampled_from(
        [
            TargetTracking(min_size=1, max_size=9, period_s=1, datapoints_to_scale_in=2),
            Step(min_size=1, max_size=9, period_s=1, estimated_instance_warmup_s=3),
            Simple(min_size=1, max_size=9, period_s=1, default_cooldown_s=2),
        ]
    ),
    st.lists(st.tuples(st.none() | st.floats(0, 1), st.integers(1, 9)), min_size=1, max_size=25),
)
def test_always_within_limits_deterministic_and_holding_when_unknown(policy, loads):
    memory = None
    for number, (load, current) in enumerate(loads):
        observation = seen(1.0 * number, load, current)
        once = policy.recommend(memory, observation, current)
        assert once == policy.recommend(memory, observation, current)
        recommendation, memory = once
        assert (recommendation.servers is None) == (load is None)
        assert recommendation.servers is None or 1 <= recommendation.servers <= 9
