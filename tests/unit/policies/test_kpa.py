"""Knative's autoscaler, with the cases of its own tests.

Source: knative/serving, pkg/autoscaler/scaling/autoscaler_test.go and
pkg/autoscaler/aggregation/bucketing_test.go.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.metrics import Metric
from lab.core.model import Metrics, Observation, Phase, Slot
from lab.core.policies.kpa import Aggregation, Kpa, KpaMemory
from lab.core.policies.kpa_windows import Buckets, largest_in


def knative(target, **settings):
    """newTestAutoscaler: rates of 10, a panic threshold of 2, and `target` is the target value."""
    rates = {"max_scale_up_rate": 10.0, "max_scale_down_rate": 10.0}
    return Kpa(target=target, target_utilization_percentage=100, **(rates | settings))


def scaled(policy, stable, panic, ready, at_s=0.0, memory=None):
    """(desired, memory) of one Scale() of an autoscaler that was made with one server."""
    memory = memory or KpaMemory(max_panic=1)
    desired, _, memory = policy.scale(memory, at_s, stable, panic, ready)
    return desired, memory


@pytest.mark.parametrize(
    ("policy", "stable", "panic", "ready", "expected"),
    [
        # TestAutoscalerScale
        pytest.param(knative(10), 0, 0, 1, 0, id="NoDataAtZeroNoAutoscale"),
        pytest.param(knative(181), 21, 26, 1, 1, id="StableModeUnlimitedTBC"),
        pytest.param(knative(10), 50, 49, 1, 5, id="0TBC"),
        pytest.param(knative(10), 50, 50, 1, 5, id="StableModeNoChange"),
        pytest.param(knative(10), 50, 50, 5, 5, id="StableModeNoChangeAlreadyScaled"),
        pytest.param(knative(1, max_scale_up_rate=1.1), 3, 3.1, 2, 3, id="SmallScaleUpRate"),
        pytest.param(knative(10, max_scale_down_rate=1.1), 1, 1, 100, 90, id="SmallScaleDownRate"),
        pytest.param(
            knative(10, max_scale_down_rate=1.1, reachable=False), 1, 1, 100, 1, id="NonReachable"
        ),
        pytest.param(knative(10), 50, 100, 1, 10, id="PanicModeDoublePodCount"),
        # TestAutoscalerStableModeIncreaseWithConcurrencyDefault and its like
        pytest.param(knative(10), 50, 10, 1, 5, id="StableModeIncrease"),
        pytest.param(knative(10), 100, 10, 1, 10, id="StableModeIncreaseMore"),
        pytest.param(knative(10), 100, 99, 1, 10, id="MetricsWithRPS"),
        # TestAutoscalerUseOnePodAsMinimumIfEndpointsNotFound
        pytest.param(knative(10), 1000, 888, 0, 10, id="UseOnePodAsMinimum"),
        pytest.param(knative(10, activation_scale=3), 5, 5, 1, 3, id="activation scale"),
        pytest.param(knative(10, activation_scale=3), 0, 0, 1, 0, id="activation scale, idle"),
    ],
)
def test_one_scale(policy, stable, panic, ready, expected):
    assert scaled(policy, stable, panic, ready)[0] == expected


@pytest.mark.parametrize(
    ("stable", "panic", "expected"),
    [
        pytest.param(50, 30, 50, id="PanicStableLargerThanPanic"),
        pytest.param(20, 30, 30, id="PanicStableLessThanPanic"),
    ],
)
def test_in_panic_the_larger_number_counts(stable, panic, expected):
    panicking = KpaMemory(panic_s=-5, max_panic=5)
    assert scaled(knative(1), stable, panic, 5, memory=panicking)[0] == expected


def test_unpanic_after_slow_increase():
    desired, memory = scaled(knative(1), 11, 25, 10)
    assert (desired, memory.panic_s) == (25, 0)
    desired, memory = scaled(knative(1), 30, 41, 40, 30, memory)
    assert (desired, memory.panic_s) == (41, 0)
    desired, memory = scaled(knative(1), 50, 56, 55, 62, memory)
    assert (desired, memory.panic_s) == (50, None)


def test_extend_panic_window():
    desired, memory = scaled(knative(1), 11, 25, 10)
    desired, memory = scaled(knative(1), 30, 80, 40, 30, memory)
    assert (desired, memory.panic_s) == (80, 30)


def test_stable_mode_decrease_and_to_zero():
    desired, memory = scaled(knative(10), 100, 100, 8)
    assert desired == 10
    assert scaled(knative(10), 50, 50, 8, 0, memory)[0] == 5
    desired, memory = scaled(knative(10), 1, 0, 1)
    assert desired == 1
    assert scaled(knative(10), 0, 0, 1, 0, memory)[0] == 0


def test_panic_mode_exponential_track_and_stabilize():
    memory, at_s = None, 0.0
    for ready, load, at_s in [(1, 6, 0), (6, 36, 0), (36, 216, 1), (216, 1296, 1)]:
        desired, memory = scaled(knative(1), load, load, ready, at_s, memory)
        assert (desired, memory.panic_s) == (load, at_s)
    assert scaled(knative(1), 1296, 1296, 1296, at_s + 1, memory)[0] == 1296


def test_panic_then_unpanic_scale_down():
    desired, memory = scaled(knative(10), 100, 100, 1)
    assert desired == 10
    desired, memory = scaled(knative(10), 100, 1000, 10, 1, memory)
    assert desired == 100
    desired, memory = scaled(knative(10), 1, 1, 10, 31, memory)
    assert desired == 100
    assert scaled(knative(10), 1, 1, 10, 62, memory)[0] == 1


def test_rate_limit_of_growing_and_shrinking():
    desired, memory = scaled(knative(10), 1000, 1001, 1)
    assert desired == 10
    assert scaled(knative(10), 1000, 1001, 10, 0, memory)[0] == 100
    desired, memory = scaled(knative(10), 1, 1, 100)
    assert desired == 10
    assert scaled(knative(10), 1, 1, 10, 0, memory)[0] == 1


def delayed(policy, *loads):
    memory, told = None, []
    for at_s, load in loads:
        desired, memory = scaled(policy, load, load, 1, at_s, memory)
        told.append(desired)
    return told


def test_scale_down_delay():
    policy = knative(10, panic_threshold_percentage=10_000, scale_down_delay_s=300, reachable=False)
    assert delayed(policy, (2, 40), (300, 0), (302, 0)) == [4, 4, 0]
    minutes = [(540, 40), (600, 30), (660, 0), (840, 0), (900, 0)]
    assert delayed(policy, *minutes) == [4, 4, 4, 3, 0]


def test_scale_down_delay_of_zero_is_none_within_a_tick():
    policy = knative(10, panic_threshold_percentage=10_000)
    assert delayed(policy, (0, 40), (0.5, 20)) == [4, 2]


def test_largest_in_keeps_the_last_ticks():
    steps = largest_in(largest_in((), 1, 4, 150), 150, 0, 150)
    assert max(number for _, number in steps) == 4
    assert largest_in(steps, 151, 0, 150) == ((150, 0), (151, 0))
    assert largest_in(((7, 3),), 7, 2, 1) == ((7, 3),)


class TestWindows:
    """bucketing_test.go, windows of 5 s."""

    def filled(self, *values):
        buckets = Buckets()
        for second, value in enumerate(values):
            buckets = buckets.record(second + 0.4, value, 5)
        return buckets

    def test_the_first_seconds_are_a_window_of_their_own(self):
        assert self.filled(1).average(0.4, 5) == 1

    def test_average_and_short_and_long_hole(self):
        buckets = self.filled(1, 2, 3, 4, 5)
        assert buckets.average(4.4, 5) == 15 / 5
        assert buckets.average(4.0, 5) == 15 / 5
        assert buckets.average(6.4, 5) == (15 - 1 - 2) / (5 - 2)
        assert buckets.average(10.4, 5) == 0

    def test_a_write_after_a_hole_counts_the_hole_as_zero(self):
        buckets = self.filled(1, 2, 3, 4, 5)
        assert buckets.record(6.4, 91, 5).average(6.4, 5) == (15 - 1 - 2 + 91) / 5
        assert buckets.record(8.4, 2, 5).average(8.4, 5) == (5 + 2) / 5

    def test_rollover(self):
        assert self.filled(1, 2, 3, 4, 5, 6).average(5.4, 5) == (2 + 3 + 4 + 5 + 6) / 5

    def test_a_write_after_a_whole_window_begins_anew(self):
        assert self.filled(1, 2, 3, 4, 5).record(9.4, 7, 5).average(9.4, 5) == 7

    def test_samples_of_one_second_count_once_with_their_mean(self):
        buckets = Buckets().record(0, 4, 5).record(0.5, 8, 5).record(1, 0, 5)
        assert buckets.average(1, 5) == 3

    def test_averages_are_cut_off_after_six_digits(self):
        buckets = Buckets().record(0, 3.6e-17, 5)
        assert buckets.average(0, 5) == 0
        assert Buckets().record(0, 1.23456789, 5).average(0, 5) == 1.234567

    def test_weighted_average_falls_off_with_age(self):
        # Five buckets: the coefficient is 1 - 0.0001^(1/5) = 0.8415.
        coefficient = 1 - 0.0001 ** (1 / 5)
        buckets = self.filled(10, 10, 5, 5)
        expected = sum(
            value * coefficient * (1 - coefficient) ** age
            for age, value in enumerate([5, 5, 10, 10])
        )
        assert buckets.weighted_average(3.4, 5) == pytest.approx(expected)
        later = buckets.weighted_average(4.4, 5)
        assert later == pytest.approx(expected * (1 - coefficient))
        assert buckets.weighted_average(20, 5) == 0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # ResolveMetricTarget: 70 % of 100 requests in flight, or of 200 requests/s
        ({}, 70),
        ({"metric": Metric.REQUESTS_PER_S}, 140),
        ({"container_concurrency": 4}, 2.8),
        ({"container_concurrency": 4, "target": 10}, 2.8),
        ({"container_concurrency": 40, "target": 10}, 7),
        ({"target": 10, "target_utilization_percentage": 100}, 10),
        ({"target": 0.001}, 0.01),
    ],
)
def test_target(settings, expected):
    assert Kpa(**settings).target_value == pytest.approx(expected)


def seen(at_s, concurrency, ready):
    slots = tuple(Slot(number + 1, Phase.SERVING) for number in range(ready))
    half = None if concurrency is None else concurrency // 2
    rest = None if concurrency is None or half is None else concurrency - half
    return Observation(at_s, slots, Metrics(in_flight=half, queued=rest, requests_per_s=half))


def run(policy, *ticks, memory=None):
    told = []
    for at_s, concurrency, ready in ticks:
        recommendation, memory = policy.recommend(memory, seen(at_s, concurrency, ready), ready)
        told.append(recommendation.servers)
    return told


TEN = Kpa(target=10, target_utilization_percentage=100)


@pytest.mark.parametrize(("ready", "panic_s", "max_panic"), [(0, None, 0), (1, None, 1), (2, 0, 2)])
def test_a_pool_of_several_starts_in_panic(ready, panic_s, max_panic):
    _, memory = TEN.recommend(None, seen(0, 1, ready), ready)
    assert (memory.panic_s, memory.max_panic) == (panic_s, max_panic)


def test_a_restart_does_not_shrink_for_a_stable_window():
    told = run(TEN, *[(2.0 * tick, 10, 6) for tick in range(33)])
    assert told[:31] == [6] * 31
    assert told[31:] == [3, 3]  # at 62 s; at most halved


def test_the_number_stands_between_two_ticks_and_unknown_holds():
    told = run(TEN, (0, 20, 1), (0.5, 200, 1), (1.75, 200, 1), (2, None, 1), (2.25, 200, 1))
    assert told == [2, 2, 2, None, 17]  # ceil((110 + 200 + 200) / 3 / 10)


def test_the_last_server_waits_for_stable_window_and_grace():
    told = run(TEN, (0, 5, 1), *[(2.0 * tick, 0, 1) for tick in range(1, 80)])
    assert told.index(0) * 2 == 60 + 30
    assert set(told[:45]) == {1}


def test_a_request_during_the_grace_ends_it():
    quiet = [(2.0 * tick, 0, 1) for tick in range(1, 55)]
    memory = None
    for at_s, load, ready in [(0, 5, 1), *quiet, (110, 30, 1)]:
        _, memory = TEN.recommend(memory, seen(at_s, load, ready), ready)
    assert memory.inactive_s is None


def test_without_scale_to_zero_one_server_stays():
    policy = replace(TEN, enable_scale_to_zero=False)
    assert run(policy, *[(10.0 * tick, 0, 1) for tick in range(20)])[-1] == 1


def test_scale_limits_and_initial_scale():
    assert run(replace(TEN, min_scale=2), (0, 0, 1)) == [2]
    assert run(replace(TEN, max_scale=3), (0, 90, 1)) == [3]
    starting = replace(TEN, initial_scale=4, panic_threshold_percentage=1000)
    assert run(starting, (0, 10, 1), (2, 10, 4), (90, 10, 4), (160, 10, 4)) == [4, 2, 2, 2]


def test_the_formula_shows_the_numbers():
    recommendation, _ = TEN.recommend(None, seen(0, 45, 2), 2)
    assert recommendation.formula == (
        "ceil(stable 45 / 10) = 5; panic: ceil(45 / 10) = 5, so at least 5"
    )


@given(
    st.lists(
        st.tuples(st.none() | st.integers(0, 500), st.integers(0, 12)), min_size=1, max_size=20
    ),
    st.sampled_from(Aggregation),
)
def test_always_within_limits_deterministic_and_holding_when_unknown(loads, aggregation):
    policy = replace(TEN, min_scale=1, max_scale=9, metric_aggregation_algorithm=aggregation)
    memory = None
    for number, (load, ready) in enumerate(loads):
        observation = seen(1.0 * number, load, ready)
        once = policy.recommend(memory, observation, ready)
        assert once == policy.recommend(memory, observation, ready)
        recommendation, memory = once
        assert (recommendation.servers is None) == (load is None)
        assert recommendation.servers is None or 1 <= recommendation.servers <= 9
