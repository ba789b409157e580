"""One metric of the HPA, with the rows of Kubernetes' own tables.

Source: kubernetes/kubernetes, pkg/controller/podautoscaler/replica_calculator_test.go (there each
pod has two containers, so levels and requests count twice; the test's own CPU initialisation period
is 2 min and its readiness delay 10 s).
"""

from __future__ import annotations

import pytest

from lab.core.metrics import Metric
from lab.core.model import Metrics, Observation, Phase, Slot
from lab.core.policies.hpa_replicas import MetricSpec, Source, TargetType, Tolerances, propose
from lab.core.policies.hpa_servers import Readiness, Youth, readiness

LONG_S = 1e6
NOW_S = 2e6
YOUTH = Youth(120, 10, 60)
TENTH = Tolerances(0.1, 0.1)

R, U, N, P, X, D, S = "R", "U", "N", "P", "X", "D", "S"
"""Ready, unready, ready and new (hot CPU), pending, failed, being deleted, succeeded."""
PHASE = {
    R: (Phase.SERVING, LONG_S),
    U: (Phase.JOINING, LONG_S),
    N: (Phase.SERVING, 0.0),
    P: (Phase.BOOTING, LONG_S),
    X: (Phase.BROKEN, LONG_S),
    D: (Phase.DRAINING, LONG_S),
    S: (Phase.STOPPED, LONG_S),
}


def pool(states: str, levels: list[int | None], requests: list[float] | None = None):
    """Servers in `states`, with their millicores in each of two containers."""
    slots = []
    for index, state in enumerate(states):
        phase, for_s = PHASE[state]
        level = levels[index] if index < len(levels) else None
        slots.append(
            Slot(
                index + 1,
                phase,
                for_s,
                cpus=None if level is None else 2 * level / 1000,
                cpus_limit=2 * (requests[index] if requests else 1.0),
                up_s=for_s,
            )
        )
    return Observation(NOW_S, tuple(slots))


def proposed(spec, seen, current, tolerances=TENTH):
    return propose(spec, seen, current, readiness((), seen), tolerances, YOUTH).servers


CPU = [
    # TestReplicaCalcResourceScale
    ("scale up", 3, "RRR", [300, 500, 700], 30, 5),
    ("scale up: unready pod scales less", 3, "URR", [300, 500, 700], 30, 4),
    ("scale up: hot-CPU pod scales less", 3, "NRR", [300, 500, 700], 30, 4),
    ("no scale: unready pods ignored", 3, "RUU", [400, 500, 700], 30, 3),
    ("scale up: failed pods ignored", 2, "RRXX", [500, 700], 30, 4),
    ("scale up: succeeded pods ignored", 2, "RRSS", [500, 700], 30, 4),
    ("scale up: pods being deleted are ignored", 2, "RRDD", [500, 700], 30, 4),
    ("scale down", 5, "RRRRR", [100, 300, 500, 250, 250], 50, 3),
    ("scale down: exclude unready pods", 5, "RRRUU", [100, 300, 500, 250, 250], 50, 2),
    ("scale down: exclude unscheduled pods", 5, "RPPPP", [100], 50, 1),
    ("the same, with metrics", 5, "RPPPP", [100, 300, 500, 250, 250], 50, 1),
    ("scale down: ignore hot-CPU pods", 5, "RRRNN", [100, 300, 500, 250, 250], 50, 2),
    ("scale down: failed pods ignored", 5, "RRRRRXX", [100, 300, 500, 250, 250], 50, 3),
    ("scale down: succeeded pods ignored", 5, "RRRRRSS", [100, 300, 500, 250, 250], 50, 3),
    ("scale down: still-running deleted ignored", 5, "RRRRRDD", [100, 300, 500, 250, 250], 50, 3),
    # TestReplicaCalcResourceMissingMetrics
    ("some pods missing metrics scales down", 4, "RRRR", [400, 95], 100, 3),
    ("no change: metric equal to target", 2, "RR", [1000], 100, 2),
    ("no change: metric above target", 2, "RR", [1900], 100, 2),
    ("no change: metric below target", 2, "RR", [600], 100, 2),
    ("no change: unready pod metric missing", 3, "URR", [100, 450], 50, 3),
    ("no change: hot-CPU pod metric missing", 3, "NRR", [100, 450], 50, 3),
    ("scale up: unready pod metric missing", 3, "URR", [100, 2000], 50, 4),
    ("scale down: unready pod metric missing", 4, "URRR", [100, 100, 100], 50, 3),
    ("rolling update: extra pod missing metric", 2, "RRR", [100, 100], 50, 2),
    ("no metrics returned from metrics API", 4, "RRRR", [], 100, None),
    ("no pods", 3, "", [], 100, None),
    ("only unready pods", 3, "UUU", [100, 100, 100], 50, None),
]


@pytest.mark.parametrize(
    ("current", "states", "levels", "target", "expected"),
    [pytest.param(*row[1:], id=row[0]) for row in CPU],
)
def test_cpu_utilization(current, states, levels, target, expected):
    assert proposed(MetricSpec(Metric.CPU, target), pool(states, levels), current) == expected


def test_a_target_over_100_percent_is_what_missing_servers_are_taken_at():
    seen = pool("URRR", [200, 100, 100], [1, 1, 2, 2])
    assert proposed(MetricSpec(Metric.CPU, 300), seen, 4) == 2


@pytest.mark.parametrize(
    ("tolerances", "levels", "expected"),
    [
        # TestReplicaCalcResourceTolerance: requests of 0.9, 1.0 and 1.1 CPUs, target 100 %
        pytest.param(TENTH, [1010, 1030, 1020], 3, id="within default tolerance"),
        pytest.param(Tolerances(0, 0), [909, 1010, 1111], 4, id="outside 0%"),
        pytest.param(Tolerances(0.1, 2), [1890, 1910, 1900], 3, id="within 200% up"),
        pytest.param(Tolerances(2, 0.08), [1100, 1080, 1090], 4, id="outside 8% up"),
        pytest.param(Tolerances(0.36, 0.1), [660, 640, 650], 3, id="within 36% down"),
        pytest.param(Tolerances(0.34, 0.1), [660, 640, 650], 2, id="outside 34% down"),
    ],
)
def test_tolerance_for_each_direction(tolerances, levels, expected):
    seen = pool("RRR", levels, [0.9, 1.0, 1.1])
    assert proposed(MetricSpec(Metric.CPU, 100), seen, 3, tolerances) == expected


@pytest.mark.parametrize(("percent", "expected"), [(56, 9), (55, 10)])
def test_tolerance_is_exact_at_its_edge(percent, expected):
    # TestReplicaCalcComputedToleranceAlgImplementation: 10 servers use half of what they asked for
    requests = [0.3 + each / 1000 for each in (100, -100, 10, -10, 2, -2, 1, -1, 0, 0)]
    seen = pool("R" * 10, [150] * 10, requests)
    assert proposed(MetricSpec(Metric.CPU, percent), seen, 10) == expected


def milli(states: str, sessions: list[int]):
    """Servers with so many requests each."""
    slots = []
    for index, state in enumerate(states):
        phase, for_s = PHASE[state]
        slots.append(Slot(index + 1, phase, for_s, sessions=sessions[index], up_s=for_s))
    return Observation(NOW_S, tuple(slots))


@pytest.mark.parametrize(
    ("current", "states", "levels", "target", "tolerances", "expected"),
    [
        # TestReplicaCalcPodMetric
        pytest.param(3, "RRR", [20, 10, 30], 15, TENTH, 4, id="scale up"),
        pytest.param(3, "RRU", [50, 10, 30], 15, TENTH, 6, id="unready ones count"),
        pytest.param(3, "URU", [50, 15, 30], 15, TENTH, 7, id="unready avoid scale-down"),
        pytest.param(5, "RRRRR", [12] * 5, 20, TENTH, 3, id="scale down"),
        pytest.param(3, "RRR", [20, 21, 21], 20, TENTH, 3, id="within default tolerance"),
        pytest.param(3, "RRR", [20, 21, 21], 20, Tolerances(0.1, 0.01), 4, id="outside 1%"),
    ],
)
def test_requests_of_each_server(current, states, levels, target, tolerances, expected):
    spec = MetricSpec(Metric.IN_FLIGHT, target, Source.PODS)
    assert proposed(spec, milli(states, levels), current, tolerances) == expected


@pytest.mark.parametrize(
    ("current", "levels", "target", "expected"),
    [
        # The last rows of TestReplicaCalcPodMetric, whose missing metrics only CPU can have here.
        pytest.param(5, [20, 19, 21], 20, 5, id="no change: missing metrics"),
        pytest.param(2, [10, 10], 17, 2, id="rolling update: extra pod missing metric"),
    ],
)
def test_missing_raw_values_count_as_the_target(current, levels, target, expected):
    states = "R" * (current + (current == 2))
    seen = pool(states, [level * 500 for level in levels])
    spec = MetricSpec(Metric.CPU, target, target_type=TargetType.AVERAGE_VALUE)
    assert proposed(spec, seen, current) == expected


def balanced(value: int, states: str):
    return Observation(NOW_S, milli(states, [0] * len(states)).slots, Metrics(requests_per_s=value))


@pytest.mark.parametrize(
    ("current", "states", "level", "target", "tolerances", "expected"),
    [
        # TestReplicaCalcObjectMetric and TestReplicaCalcExternalMetric
        pytest.param(3, "RRR", 20_000, 15_000, TENTH, 4, id="scale up"),
        pytest.param(3, "RRR", 2**63 - 1, 1, TENTH, 2**31 - 1, id="very large metric"),
        pytest.param(3, "URU", 50_000, 10_000, TENTH, 5, id="up: ignores unready pods"),
        pytest.param(5, "RRRRR", 12_000, 20_000, TENTH, 3, id="scale down"),
        pytest.param(3, "RRR", 20_666, 20_000, TENTH, 3, id="within default tolerance"),
        pytest.param(3, "RRR", 20_666, 20_000, Tolerances(0.1, 0.01), 4, id="outside 1%"),
        pytest.param(3, "URU", 8600, 4400, TENTH, 2, id="down: ignores unready pods"),
        pytest.param(5, "RRRRR", 8600, 14_334, TENTH, 3, id="external: scale down"),
        pytest.param(3, "RRR", 8600, 8888, TENTH, 3, id="external: within tolerance"),
        pytest.param(3, "RRR", 8900, 8800, Tolerances(0.1, 0.01), 4, id="external: outside 1%"),
        pytest.param(0, "", 2, 1, TENTH, 2, id="from zero"),
        pytest.param(0, "", 1, 1, TENTH, 1, id="from zero: no tolerance"),
    ],
)
def test_one_value_of_the_pool(current, states, level, target, tolerances, expected):
    spec = MetricSpec(Metric.REQUESTS_PER_S, target, Source.EXTERNAL, TargetType.VALUE)
    assert proposed(spec, balanced(level, states), current, tolerances) == expected


@pytest.mark.parametrize(
    ("current", "level", "target", "tolerances", "expected"),
    [
        # TestReplicaCalcObjectPerPodMetric and TestReplicaCalcExternalPerPodMetric
        pytest.param(1, 2**63 - 1, 1, TENTH, 2**31 - 1, id="replica count overflow"),
        pytest.param(1, 2**63 - 1, 2**63 - 1, TENTH, 1, id="usage overflow with huge target"),
        pytest.param(3, 20_000, 5000, TENTH, 4, id="scale up"),
        pytest.param(5, 6000, 2000, TENTH, 3, id="scale down"),
        pytest.param(4, 20_166, 5000, TENTH, 4, id="within default tolerance"),
        pytest.param(4, 20_208, 5000, Tolerances(0.1, 0.01), 5, id="outside 1%"),
        pytest.param(0, 20_000, 5000, TENTH, 4, id="from zero"),
        pytest.param(0, 0, 5000, TENTH, 0, id="zero and metric zero"),
        pytest.param(3, 8600, 2150, TENTH, 4, id="external: scale up"),
        pytest.param(5, 8600, 2867, TENTH, 3, id="external: scale down"),
        pytest.param(3, 8600, 2900, TENTH, 3, id="external: within tolerance"),
        pytest.param(3, 8600, 2800, Tolerances(0.1, 0.01), 4, id="external: outside 1%"),
    ],
)
def test_the_pools_value_for_each_server(current, level, target, tolerances, expected):
    spec = MetricSpec(Metric.REQUESTS_PER_S, target)
    assert proposed(spec, balanced(level, ""), current, tolerances) == expected


@pytest.mark.parametrize(
    ("started_ago_s", "changed_ago_s", "ready", "window_s", "hidden"),
    [
        # TestGroupPods, with its window and its delays
        pytest.param(60, 30, True, 30, False, id="ready, fresh metrics, initializing"),
        pytest.param(60, 30, True, 60, True, id="ready, no fresh metrics, initializing"),
        pytest.param(600, 594, False, 0, True, id="unready, never ready"),
        pytest.param(180, 180, True, 60, False, id="ready, after initialization"),
        pytest.param(600, 540, False, 0, False, id="unready, was ready"),
        pytest.param(600, 590, False, 0, False, id="unready since the delay is just over"),
        pytest.param(0, 0, False, 0, True, id="just begun"),
    ],
)
def test_when_cpu_of_a_young_server_is_left_out(
    started_ago_s, changed_ago_s, ready, window_s, hidden
):
    server = Readiness(1, NOW_S - started_ago_s, ready, NOW_S - changed_ago_s)
    assert Youth(120, 10, window_s).hides(server, NOW_S) is hidden


def test_a_scaler_that_has_just_begun_takes_all_servers_for_old():
    nothing_known = Observation(10, (Slot(1, Phase.SERVING), Slot(2, Phase.JOINING)))
    youth = Youth(300, 30, 15)
    ready, unready = readiness((), nothing_known)
    assert not youth.hides(ready, 10)
    assert youth.hides(unready, 10)
    (new,) = readiness((), Observation(10, (Slot(1, Phase.SERVING, 0.25),)))
    assert youth.hides(new, 10)


def test_readiness_keeps_the_start_and_notes_when_it_turns():
    booting = Observation(10, (Slot(1, Phase.BOOTING, 2), Slot(2, Phase.SERVING, 100, up_s=130)))
    first = readiness((), booting)
    assert first == (Readiness(1, 8, False, 8), Readiness(2, -120, True, -90))
    joining = Observation(12, (Slot(1, Phase.JOINING, 0.5), Slot(2, Phase.DRAINING, 1)))
    second = readiness(first, joining)
    assert second == (Readiness(1, 8, False, 8),)
    serving = Observation(15, (Slot(1, Phase.SERVING, 1), Slot(2, Phase.SERVING, 1)))
    assert readiness(second, serving) == (Readiness(1, 8, True, 14), Readiness(2, 14, True, 14))


@pytest.mark.parametrize(
    ("metric", "source", "target_type"),
    [
        (Metric.IN_FLIGHT, Source.RESOURCE, None),
        (Metric.CPU, Source.RESOURCE, TargetType.VALUE),
        (Metric.IN_FLIGHT, Source.PODS, TargetType.VALUE),
        (Metric.P95_MS, Source.EXTERNAL, TargetType.UTILIZATION),
    ],
)
def test_what_kubernetes_refuses_is_refused(metric, source, target_type):
    with pytest.raises(ValueError, match=r"metric has a target_type|is no resource"):
        MetricSpec(metric, 1, source, target_type)
