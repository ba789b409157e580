"""Stabilisation and rate policies of the HPA, with the rows of Kubernetes' own tables.

Source: kubernetes/kubernetes, pkg/controller/podautoscaler/horizontal_test.go.
"""

# ruff: noqa: E501 - a table of rows reads better unbroken

from __future__ import annotations

import pytest

from lab.core.changes import Change, Changes
from lab.core.policies.hpa_behavior import (
    SCALE_DOWN,
    SCALE_UP,
    RatePolicy,
    ScalingRules,
    ScalingType,
    SelectPolicy,
    limit_down,
    limit_rates,
    limit_up,
    stabilize,
    without_behavior,
)

NOW_S = 10_000.0


def rules(pods, pods_s, percent, percent_s, window_s):
    """generateScalingRules."""
    policies = ()
    if pods:
        policies += (RatePolicy(ScalingType.PODS, pods, pods_s),)
    if percent:
        policies += (RatePolicy(ScalingType.PERCENT, percent, percent_s),)
    return ScalingRules(window_s, policies)


def spread(changes, period_s, sign):
    """generateEventsUniformDistribution: each in the middle of its part of the last `period_s`."""
    part_s = period_s / len(changes) if changes else 0
    return tuple(
        Change(NOW_S - int(period_s - part_s * (index + 1) + part_s / 2), sign * each)
        for index, each in enumerate(changes)
    )


def happened(ups, downs):
    return Changes((*spread(ups, 120, 1), *spread(downs, 120, -1)))


@pytest.mark.parametrize(
    ("ups", "downs", "up", "down", "current", "desired", "least", "most", "expected", "reason"),
    [
        # TestScalingWithRules, in its order
        ([], [], None, None, 5, 7, 3, 8, 7, "DesiredWithinRange"),
        ([], [], None, None, 3, 1, 2, 8, 2, "TooFewReplicas"),
        ([], [], None, None, 1, 0, 0, 10, 0, "DesiredWithinRange"),
        ([], [], None, None, 20, 1000, 1, 10, 10, "TooManyReplicas"),
        ([], [], None, None, 100, 1000, 100, 150, 150, "TooManyReplicas"),
        ([], [], (0, 0, 1, 60, 0), None, 3, 1000, 1, 2000, 4, "ScaleUpLimit"),
        ([], [], None, (20, 60, 0, 0, 0), 1000, 3, 3, 2000, 980, "ScaleDownLimit"),
        ([], [], None, None, 10, 50, 1, 1000, 20, "ScaleUpLimit"),
        ([], [], (100, 60, 100, 60, 0), None, 10, 500, 1, 1000, 110, "ScaleUpLimit"),
        ([], [], (2, 60, 100, 60, 0), None, 10, 500, 1, 1000, 20, "ScaleUpLimit"),
        ([], [], (100, 60, 0, 0, 0), None, 10, 50, 1, 1000, 50, "DesiredWithinRange"),
        ([], [], (10000, 60, 0, 0, 0), None, 10, 50, 1, 1000, 50, "DesiredWithinRange"),
        ([], [], (30, 60, 0, 0, 0), None, 10, 50, 1, 1000, 40, "ScaleUpLimit"),
        ([], [], (0, 0, 200, 60, 0), None, 10, 50, 1, 1000, 30, "ScaleUpLimit"),
        ([], [], None, (20, 60, 1, 60, 300), 100, 2, 1, 1000, 80, "ScaleDownLimit"),
        ([], [], None, (2, 60, 1, 60, 300), 100, 2, 1, 1000, 98, "ScaleDownLimit"),
        ([], [], None, (100, 60, 0, 0, 300), 10, 0, 1, 1000, 1, "TooFewReplicas"),
        ([], [], None, (0, 0, 100, 60, 300), 10, 2, 5, 1000, 5, "TooFewReplicas"),
        ([], [], None, (5, 60, 0, 0, 300), 10, 2, 1, 1000, 5, "ScaleDownLimit"),
        ([], [], None, (0, 0, 50, 60, 300), 10, 5, 1, 1000, 5, "DesiredWithinRange"),
        ([1, 5, 9], [], (300, 60, 0, 0, 0), None, 100, 500, 1, 200, 200, "TooManyReplicas"),
        ([1, 5, 9], [], (0, 0, 10000, 60, 0), None, 100, 500, 1, 200, 200, "TooManyReplicas"),
        ([1, 5, 9], [], (5, 120, 0, 0, 0), None, 100, 500, 1, 1000, 100, "ScaleUpLimit"),
        ([1, 5, 9], [], (150, 120, 0, 0, 0), None, 100, 500, 1, 1000, 235, "ScaleUpLimit"),
        ([1, 5, 9], [], (0, 0, 200, 120, 0), None, 100, 500, 1, 1000, 255, "ScaleUpLimit"),
        ([4], [2], (0, 0, 300, 300, 0), None, 6, 24, 1, 1000, 16, "ScaleUpLimit"),
        ([], [1, 5, 9], None, None, 10, 5, 1, 1000, 5, "DesiredWithinRange"),
        ([], [1, 5, 9], None, (115, 120, 0, 0, 300), 100, 0, 1, 1000, 1, "TooFewReplicas"),
        ([], [1, 5, 9], None, (130, 120, 0, 0, 300), 100, 0, 5, 1000, 5, "TooFewReplicas"),
        ([], [1, 5, 9], None, (0, 0, 100, 120, 300), 100, 2, 5, 1000, 5, "TooFewReplicas"),
        ([], [1, 5, 9], None, (5, 120, 0, 0, 300), 100, 2, 1, 1000, 100, "ScaleDownLimit"),
        ([], [2, 4, 6], None, (0, 0, 50, 120, 300), 100, 0, 1, 1000, 56, "ScaleDownLimit"),
        ([2], [4], None, (0, 0, 50, 180, 0), 10, 1, 1, 1000, 6, "ScaleDownLimit"),
        ([], [10, 10, 10], None, (0, 0, 10, 120, 300), 100, 0, 1, 1000, 100, "ScaleDownLimit"),
        ([], [10, 10, 10], None, (0, 0, 1000, 120, 300), 10, 5, 1, 1000, 5, "DesiredWithinRange"),
        ([8, 12, 9, 11], [], (1000, 60, 0, 0, 0), None, 100, 200, 1, 1000, 200, "DesiredWithinRange"),
        ([8, 12, 9, 11], [], (1000, 120, 100, 60, 0), None, 100, 200, 1, 1000, 200, "DesiredWithinRange"),
        ([8, 12, 9, 11], [], (1000, 30, 100, 60, 0), None, 100, 200, 1, 1000, 200, "DesiredWithinRange"),
        ([], [8, 12, 9, 11], None, (1000, 60, 0, 0, 300), 100, 5, 1, 1000, 5, "DesiredWithinRange"),
        ([], [8, 12, 9, 11], None, (1000, 120, 100, 60, 300), 100, 5, 1, 1000, 5, "DesiredWithinRange"),
        ([], [8, 12, 9, 11], None, (1000, 30, 100, 60, 300), 100, 5, 1, 1000, 5, "DesiredWithinRange"),
    ],
)  # fmt: skip
def test_rates_and_limits(ups, downs, up, down, current, desired, least, most, expected, reason):
    got = limit_rates(
        rules(*up) if up else SCALE_UP,
        rules(*down) if down else SCALE_DOWN,
        happened(ups, downs), NOW_S, current, desired, least, most,
    )  # fmt: skip
    assert got == (expected, reason)


BOTH = (RatePolicy(ScalingType.PODS, 2, 60), RatePolicy(ScalingType.PERCENT, 50, 60))


@pytest.mark.parametrize(
    ("select", "current", "up", "down"),
    [
        # TestCalculateScaleUpLimitWithScalingRules: 2; TestCalculateScaleDownLimitWithBehaviors: 3
        (SelectPolicy.MIN, 1, 2, 0),
        (SelectPolicy.MIN, 5, 7, 3),
        (SelectPolicy.MAX, 5, 8, 2),
        (SelectPolicy.DISABLED, 5, 5, 5),
    ],
)
def test_which_of_several_rates_holds(select, current, up, down):
    both = ScalingRules(300, BOTH, select)
    assert limit_up(both, Changes(), NOW_S, current) == up
    assert limit_down(both, Changes(), NOW_S, current) == down


MINUTE_S = 60


@pytest.mark.parametrize(
    ("past", "current", "desired", "up_s", "down_s", "expected"),
    [
        # TestNormalizeDesiredReplicasWithBehavior: (servers, minutes ago)
        pytest.param([], 100, 5, 0, 0, 5, id="empty recommendations for scaling down"),
        pytest.param([(4, 2), (5, 1)], 100, 3, 0, 180, 5, id="simple scale down"),
        pytest.param([(4, 2), (5, 1)], 1, 7, 300, 0, 4, id="simple scale up"),
        pytest.param([(1, 2), (2, 1)], 100, 3, 300, 0, 3, id="no scale down stabilization"),
        pytest.param([(4, 2), (5, 1)], 1, 3, 0, 300, 3, id="no scale up stabilization"),
        pytest.param([(10, 10), (9, 9)], 100, 3, 0, 0, 3, id="no scale down, old ones"),
        pytest.param([(10, 10), (9, 9)], 1, 100, 0, 0, 100, id="no scale up, old ones"),
        pytest.param([(10, 10), (4, 1), (5, 2), (9, 9)], 100, 3, 0, 180, 5, id="down, some old"),
        pytest.param([(10, 100), (6, 1), (5, 2), (9, 3)], 1, 100, 300, 0, 5, id="up, some old"),
        pytest.param([(2, 100), (3, 3)], 2, 1, 300, 300, 2, id="no up when going down"),
        pytest.param([(2, 100), (1, 3)], 2, 3, 300, 300, 2, id="no down when going up"),
    ],
)
def test_stabilisation(past, current, desired, up_s, down_s, expected):
    recent = tuple((NOW_S - ago * MINUTE_S, servers) for servers, ago in past)
    assert stabilize(recent, NOW_S, current, desired, up_s, down_s) == expected


@pytest.mark.parametrize(
    ("past", "desired", "expected"),
    [
        # TestNormalizeDesiredReplicas, stabilizeRecommendation of 5 min
        pytest.param([], 5, 5, id="empty log"),
        pytest.param([(4, 2), (5, 1)], 3, 5, id="stabilize"),
        pytest.param([(1, 2), (2, 1)], 3, 3, id="no stabilize"),
        pytest.param([(10, 10), (9, 9)], 3, 3, id="no stabilize - old recommendations"),
        pytest.param([(10, 10), (4, 1), (5, 2), (9, 9)], 3, 5, id="stabilize - old ones"),
    ],
)
def test_stabilisation_without_behavior(past, desired, expected):
    recent = tuple((NOW_S - ago * MINUTE_S, servers) for servers, ago in past)
    assert without_behavior(recent, NOW_S, 10, desired, 300, 1, 100)[0] == expected


@pytest.mark.parametrize(
    ("current", "desired", "least", "most", "expected", "reason"),
    [
        # TestConvertDesiredReplicasWithRules
        (5, 7, 3, 8, 7, "DesiredWithinRange"),
        (3, 1, 2, 8, 2, "TooFewReplicas"),
        (1, 0, 0, 10, 0, "DesiredWithinRange"),
        (20, 1000, 1, 10, 10, "TooManyReplicas"),
        (3, 1000, 1, 2000, 6, "ScaleUpLimit"),
        (1, 1000, 1, 2000, 4, "ScaleUpLimit"),
    ],
)
def test_limits_without_behavior(current, desired, least, most, expected, reason):
    got = without_behavior((), NOW_S, current, desired, 300, least, most)
    assert got == (desired, expected, reason)


def test_an_event_counts_for_less_than_its_period():
    changes = Changes((Change(NOW_S - 60, 4),))
    minute = rules(4, 60, 0, 0, 0)
    assert limit_up(minute, changes, NOW_S - 0.1, 10) == 10
    assert limit_up(minute, changes, NOW_S, 10) == 14
