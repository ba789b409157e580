"""The whole HPA policy: syncs, several metrics, failures, zero, time, and what always holds."""

# ruff: noqa: E501 - a table of rows reads better unbroken

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.metrics import Metric
from lab.core.model import Metrics, Observation, Phase, Slot
from lab.core.policies.hpa import Hpa, HpaMemory
from lab.core.policies.hpa_behavior import RatePolicy, ScalingRules, ScalingType
from lab.core.policies.hpa_replicas import MetricSpec, Source, TargetType

OLD_S = 1e5
QPS = MetricSpec(Metric.IN_FLIGHT, 15, Source.PODS)


def external(target, kind=TargetType.VALUE):
    return MetricSpec(Metric.REQUESTS_PER_S, target, Source.EXTERNAL, kind)


def cpu(target):
    return MetricSpec(Metric.CPU, target)


def seen(at_s=0.0, levels=(), requests=1.0, sessions=(), rate=None, count=None, for_s=OLD_S):
    """Servers that use so many millicores of `requests` CPUs, and have so many requests."""
    count = count if count is not None else max(len(levels), len(sessions))
    asked = requests if isinstance(requests, list) else [requests] * count
    slots = tuple(
        Slot(
            number + 1,
            Phase.SERVING,
            for_s,
            sessions=sessions[number] if sessions else 0,
            cpus=levels[number] / 1000 if number < len(levels) else None,
            cpus_limit=asked[number],
        )
        for number in range(count)
    )
    return Observation(at_s, slots, Metrics(requests_per_s=rate))


FRESH = HpaMemory()
"""An empty list of recommendations, as most of Kubernetes' tests give it: nothing to stabilise."""

THREE = [0.9, 1.0, 1.1]
TENTH = [0.1, 0.1, 0.1]
UP_700 = ScalingRules(0, (RatePolicy(ScalingType.PERCENT, 700, 60),))


@pytest.mark.parametrize(
    ("settings", "observation", "current", "memory", "expected"),
    [
        # horizontal_test.go, by the name of the test: (min, max, metrics), what is seen, replicas
        pytest.param((2, 6, [cpu(30)]), seen(levels=[300, 500, 700]), 3, None, 5, id="ScaleUp"),
        pytest.param((2, 6, [QPS]), seen(sessions=[20, 10, 30]), 3, None, 4, id="ScaleUpCM"),
        pytest.param((2, 6, [external(15)]), seen(rate=20, count=3), 3, None, 4, id="ScaleUpCMObject"),
        pytest.param((0, 6, [external(15)]), seen(rate=20), 0, None, 2, id="ScaleUpFromZeroCMObject"),
        pytest.param((0, 6, [external(1)]), seen(rate=1), 0, None, 1, id="ScaleUpFromZeroIgnoresToleranceCMObject"),
        pytest.param((2, 6, [external(10, TargetType.AVERAGE_VALUE)]), seen(rate=40), 3, None, 4, id="ScaleUpPerPodCMObject"),
        pytest.param((2, 6, [external(6.666)]), seen(rate=8.6, count=3), 3, None, 4, id="ScaleUpCMExternal"),
        pytest.param((2, 6, [external(2.222, TargetType.AVERAGE_VALUE)]), seen(rate=8.6), 3, None, 4, id="ScaleUpPerPodCMExternal"),
        pytest.param((2, 6, [cpu(50)]), seen(levels=[100, 300, 500, 250, 250]), 5, FRESH, 3, id="ScaleDown"),
        pytest.param((2, 6, [cpu(30), external(0.1)]), seen(levels=[300, 400, 500]), 3, None, 4, id="ScaleUpOneMetricEmpty"),
        pytest.param((2, 6, [cpu(30), external(0.1)]), seen(count=3), 3, None, None, id="ScaleUpBothMetricsEmpty"),
        pytest.param((2, 6, [cpu(50), external(1)]), seen(levels=[100, 300, 500, 250, 250]), 5, FRESH, None, id="NoScaleDownOneMetricEmpty"),
        pytest.param((2, 6, [cpu(50)]), seen(levels=[100, 300, 500, 250, 250]), 5, None, 5, id="ScaleDownStabilizeInitialSize"),
        pytest.param((2, 6, [MetricSpec(Metric.IN_FLIGHT, 20, Source.PODS)]), seen(sessions=[12] * 5), 5, FRESH, 3, id="ScaleDownCM"),
        pytest.param((2, 6, [external(20)]), seen(rate=12, count=5), 5, FRESH, 3, id="ScaleDownCMObject"),
        pytest.param((0, 6, [external(20)]), seen(rate=0, count=5), 5, FRESH, 0, id="ScaleDownToZeroCMObject"),
        pytest.param((2, 6, [external(20, TargetType.AVERAGE_VALUE)]), seen(rate=60), 5, FRESH, 3, id="ScaleDownPerPodCMObject"),
        pytest.param((2, 6, [external(14.4)]), seen(rate=8.6, count=5), 5, FRESH, 3, id="ScaleDownCMExternal"),
        pytest.param((0, 6, [external(14.4)]), seen(rate=0, count=5), 5, FRESH, 0, id="ScaleDownToZeroCMExternal"),
        pytest.param((2, 6, [external(3, TargetType.AVERAGE_VALUE)]), seen(rate=8.6), 5, FRESH, 3, id="ScaleDownPerPodCMExternal"),
        pytest.param((1, 5, [cpu(100)]), seen(levels=[1010, 1030, 1020], requests=THREE), 3, None, 3, id="Tolerance"),
        pytest.param((1, 5, [MetricSpec(Metric.IN_FLIGHT, 20, Source.PODS)]), seen(sessions=[20, 20, 21]), 3, None, 3, id="ToleranceCM"),
        pytest.param((1, 5, [external(20)]), seen(rate=20.05, count=3), 3, None, 3, id="ToleranceCMObject"),
        pytest.param((2, 6, [external(8.666)]), seen(rate=8.6, count=4), 4, None, 4, id="ToleranceCMExternal"),
        pytest.param((2, 6, [external(2.2, TargetType.AVERAGE_VALUE)]), seen(rate=8.6), 4, None, 4, id="TolerancePerPodCMExternal"),
        pytest.param((2, 5, [cpu(90)]), seen(levels=[10, 95, 10], requests=THREE), 3, FRESH, 2, id="MinReplicas"),
        pytest.param((0, 5, [cpu(90)]), seen(levels=[0, 0, 0], requests=THREE), 3, FRESH, 0, id="ZeroMinReplicasDesiredZero"),
        pytest.param((2, 5, [cpu(90)]), seen(levels=[0, 0, 0], requests=THREE), 3, FRESH, 2, id="MinReplicasDesiredZero"),
        pytest.param((3, 5, [cpu(90)]), seen(), 0, None, 0, id="ZeroReplicas"),
        pytest.param((3, 5, [cpu(90)]), seen(), 2, None, 3, id="TooFewReplicas"),
        pytest.param((3, 5, [cpu(90)]), seen(), 10, None, 5, id="TooManyReplicas"),
        pytest.param((2, 5, [cpu(90)]), seen(levels=[8000, 9500, 1000], requests=THREE), 3, None, 5, id="MaxReplicas"),
        pytest.param((2, 6, [cpu(100)]), seen(levels=[400, 95], count=4), 4, FRESH, 3, id="MissingMetrics"),
        pytest.param((2, 6, [cpu(100)]), seen(count=4), 4, None, None, id="EmptyMetrics"),
        pytest.param((1, 5, [cpu(50)]), seen(levels=[200], requests=0.2), 1, None, 2, id="EventCreated"),
        pytest.param((1, 5, [cpu(50)]), seen(levels=[200, 200], requests=0.4), 2, None, 2, id="EventNotCreated"),
        pytest.param((1, 5, [cpu(50)]), seen(levels=[200], requests=0.2), 4, FRESH, 2, id="MissingReports"),
        pytest.param((1, 100, [cpu(10)], UP_700), seen(levels=[100, 200, 300], requests=TENTH), 3, None, 24, id="UpscaleCap"),
        pytest.param((1, 20, [cpu(10)], UP_700), seen(levels=[100, 200, 300], requests=TENTH), 3, None, 20, id="UpscaleCapGreaterThanMaxReplicas"),
        pytest.param((1, 8, [cpu(50)]), seen(levels=[500] * 5), 4, None, 4, id="MoreReplicasThanSpecNoScale"),
        pytest.param((1, 5, [QPS]), seen(sessions=[20, 10, 30]), 3, None, 4, id="NoBackoffUpscaleCM"),
        pytest.param((1, 5, [cpu(10), QPS]), seen(levels=[20_000, 10_000, 30_000], sessions=[20, 10, 30]), 3, None, 5, id="NoBackoffUpscaleCMNoBackoffCpu"),
        pytest.param((1, 5, [cpu(100)]), seen(levels=[50] * 3, requests=TENTH), 4, HpaMemory(recommendations=((-600, 10), (-60, 4))), 4, id="StabilizeDownscale"),
        pytest.param((2, 6, [cpu(50)]), seen(levels=[0] * 4), 1, None, 2, id="ScaleUpRCImmediately"),
        pytest.param((2, 5, [cpu(50)]), seen(levels=[8000, 9500, 1000], requests=THREE), 6, None, 5, id="ScaleDownRCImmediately"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("behavior", [True, False])
def test_kubernetes_own_cases(settings, observation, current, memory, expected, behavior):
    least, most, metrics, *rules = settings
    policy = Hpa(tuple(metrics), least, most, behavior=behavior)
    if rules:  # such a row is about its rules, so it has behaviour in either case
        policy = Hpa(tuple(metrics), least, most, scale_up=rules[0])
    recommendation, _ = policy.recommend(memory, observation, current)
    assert recommendation.servers == expected
    assert recommendation.formula


def run(policy, *ticks):
    """Recommendations for (observation, current), one after the other."""
    memory = None
    told = []
    for observation, current in ticks:
        recommendation, memory = policy.recommend(memory, observation, current)
        told.append(recommendation.servers)
    return told


HALF = Hpa((external(10, TargetType.AVERAGE_VALUE),))


def test_nothing_changes_between_two_syncs():
    ticks = [(seen(at_s, rate=rate), n) for at_s, rate, n in
             [(0, 20, 2), (5, 90, 2), (14.75, 90, 2), (15, 90, 2), (20, 5, 6), (30, 90, 6)]]  # fmt: skip
    assert run(HALF, *ticks) == [2, 2, 2, 6, 6, 9]


def test_what_the_last_sync_wanted_is_wanted_again_when_a_server_breaks():
    assert run(HALF, (seen(0, rate=40), 4), (seen(5, rate=40), 3)) == [4, 4]


def test_an_unknown_metric_between_two_syncs_does_not_go_on_shrinking():
    fast = Hpa((external(10, TargetType.AVERAGE_VALUE),), scale_down=ScalingRules(0, ()))
    shrinking = Hpa(fast.metrics, behavior=False, downscale_stabilization_s=0)
    assert run(shrinking, (seen(0, rate=20), 4), (seen(16, rate=20), 4), (seen(20), 4)) == [
        4,
        2,
        None,
    ]


def test_growth_is_at_most_a_doubling_or_4_in_15_seconds():
    ticks = [(seen(0, rate=500), 1), (seen(15, rate=500), 5), (seen(30, rate=500), 10)]
    assert run(HALF, *ticks) == [5, 10, 20]


def test_a_rate_is_measured_from_the_number_that_its_period_began_with():
    slow = ScalingRules(0, (RatePolicy(ScalingType.PODS, 4, 60),))
    policy = Hpa((external(10, TargetType.AVERAGE_VALUE),), scale_up=slow)
    ticks = [(seen(0, rate=30), 1), (seen(15, rate=500), 3), (seen(30, rate=500), 5),
             (seen(45, rate=500), 5), (seen(60, rate=500), 5), (seen(75, rate=500), 7)]  # fmt: skip
    assert run(policy, *ticks) == [3, 5, 5, 5, 7, 9]


def test_growth_that_did_not_come_about_uses_up_no_rate():
    """As for a shadow policy, or one that is paused."""
    slow = ScalingRules(0, (RatePolicy(ScalingType.PODS, 4, 60),))
    policy = Hpa((external(10, TargetType.AVERAGE_VALUE),), scale_up=slow)
    assert run(policy, *[(seen(15 * n, rate=500), 1) for n in range(5)]) == [5] * 5


def test_shrinking_waits_for_five_minutes_of_smaller_numbers():
    told = run(HALF, *[(seen(15.0 * n, rate=60 if n == 0 else 20), 6) for n in range(22)])
    assert told == [6] * 20 + [2, 2]


def test_two_tolerances_bound_the_two_directions():
    policy = Hpa(
        (external(10, TargetType.AVERAGE_VALUE),),
        scale_up=ScalingRules(0, (RatePolicy(ScalingType.PERCENT, 100, 15),), tolerance=0.5),
    )
    assert run(policy, (seen(0, rate=140), 10)) == [10]
    assert run(policy, (seen(0, rate=160), 10)) == [16]


def test_what_the_hpa_scaled_to_zero_it_may_bring_back_with_a_minimum():
    policy = Hpa((external(10),), min_replicas=2)
    nobody = seen(0, rate=50)
    assert policy.recommend(HpaMemory(), nobody, 0)[0].servers == 0
    assert policy.recommend(HpaMemory(scaled_to_zero=True), nobody, 0)[0].servers == 4
    idle = seen(0, rate=1)
    assert policy.recommend(HpaMemory(scaled_to_zero=True), idle, 0)[0].servers == 2


def test_the_formula_shows_the_numbers():
    recommendation, _ = HALF.recommend(None, seen(0, rate=85), 4)
    assert recommendation.formula == (
        "ceil(requests_per_s 85 / 10 per server) = 9; ScaleUpLimit makes it 8"
    )


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="at least one metric"):
        Hpa(())
    with pytest.raises(ValueError, match="min_replicas"):
        Hpa(min_replicas=9, max_replicas=8)


LOADS = st.lists(
    st.tuples(st.none() | st.integers(0, 500), st.integers(0, 12)), min_size=1, max_size=12
)


@given(LOADS, st.booleans())
def test_always_within_limits_deterministic_and_holding_when_unknown(loads, behavior):
    policy = Hpa(
        (external(10, TargetType.AVERAGE_VALUE),),
        min_replicas=1,
        max_replicas=9,
        sync_period_s=10,
        behavior=behavior,
    )
    memory = None
    for number, (load, current) in enumerate(loads):
        observation = seen(5.0 * number, rate=load, count=current)
        once = policy.recommend(memory, observation, current)
        assert once == policy.recommend(memory, observation, current)
        recommendation, memory = once
        if recommendation.servers is None:
            continue
        assert recommendation.servers == 0 or 1 <= recommendation.servers <= 9
        if load is None and 1 <= current <= 9:
            assert recommendation.servers >= current
