"""What holds for every policy there is, and for the settings that are made of it."""

# ruff: noqa: E501 - the messages are whole lines, and a table of them reads better unbroken

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.guards import GuardSettings, ShrinkStabilisation, build
from lab.core.metrics import Metric
from lab.core.model import Metrics, Observation, Phase, Slot
from lab.core.policies.hpa import Hpa
from lab.core.policies.registry import BY_NAME, POLICIES
from lab.errors import UsageError
from lab.settings import Settings, flatten, load, policy_names

NEED_NO_METRIC = {"pinned", "schedule"}
SETTINGS = Settings()


@pytest.fixture(params=list(BY_NAME))
def policy(request):
    return SETTINGS.policy.built(request.param)


def seen(at_s, load, servers, up_s=1000.0):
    """`servers` servers with `load` requests; None: nothing is known."""
    if load is None:
        slots = tuple(Slot(number + 1, Phase.SERVING, up_s) for number in range(servers))
        return Observation(at_s, slots)
    slots = tuple(
        Slot(
            number + 1,
            Phase.SERVING,
            up_s,
            sessions=load // max(1, servers),
            cpus=min(1.0, load / 4 / max(1, servers)),
            memory_bytes=10**8,
            cpus_limit=1.0,
            memory_limit_bytes=4 * 10**8,
        )
        for number in range(servers)
    )
    times = (load * 10 + 5,) * 5
    return Observation(
        at_s,
        slots,
        Metrics(load, 0, float(load), 0.0, 50.0, 80.0, 90.0, total_ms=times, answer_ms=times),
        utc_s=1.7e9 + at_s,
    )


class TestEveryPolicy:
    def test_the_systems_that_people_know_are_there(self):
        assert set(BY_NAME) >= {
            "sessions", "latency", "last-requests", "hpa", "kpa", "nomad-target",
            "nomad-threshold", "target-tracking", "step", "adjustment", "adaptive", "react", "hist",
            "reg", "adapt", "schedule", "pinned", "predictive", "combine", "lab",
        }  # fmt: skip
        assert len(BY_NAME) == len(POLICIES)

    def test_it_is_a_frozen_dataclass_that_can_be_made_of_its_defaults(self, policy):
        assert dataclasses.is_dataclass(policy)
        with pytest.raises(dataclasses.FrozenInstanceError):
            policy.name = "x"
        assert type(policy)().name == policy.name

    def test_it_says_what_it_does_and_where_it_comes_from(self, policy):
        documented = f"{policy.__doc__} {sys.modules[type(policy).__module__].__doc__}"
        assert policy.__doc__
        assert "Source" in documented or policy.name == "lab"

    @pytest.mark.parametrize("requests", [0, 3, 40])
    def test_unknown_metrics_never_shrink_the_pool(self, policy, requests):
        if policy.name in NEED_NO_METRIC:
            # They read no metric, so nothing can become unknown to them.
            known, _ = policy.recommend(None, seen(0.0, requests, 4), 4)
            unknown, _ = policy.recommend(None, seen(0.0, None, 4), 4)
            assert known.servers == unknown.servers or unknown.servers is None
            return
        memory = None
        for tick in range(40):
            _, memory = policy.recommend(memory, seen(2.0 * tick, requests, 4), 4)
        for tick in range(40, 80):
            recommendation, memory = policy.recommend(memory, seen(2.0 * tick, None, 4), 4)
            assert recommendation.servers is None or recommendation.servers >= 4
            assert recommendation.formula

    @given(
        loads=st.lists(
            st.tuples(st.none() | st.integers(0, 60), st.integers(0, 9)), min_size=1, max_size=12
        ),
        step_s=st.sampled_from([0.25, 1.0, 20.0, 90.0]),
        name=st.sampled_from(list(BY_NAME)),
    )
    def test_the_same_again_gives_the_same_and_nothing_is_changed(self, loads, step_s, name):
        policy, memory = SETTINGS.policy.built(name), None
        for number, (requests, servers) in enumerate(loads):
            observation = seen(step_s * number, requests, servers)
            before = repr(memory)
            first = policy.recommend(memory, observation, servers)
            assert first == policy.recommend(memory, observation, servers)
            assert repr(memory) == before
            recommendation, memory = first
            assert recommendation.formula
            assert recommendation.servers is None or recommendation.servers >= 0

    def test_a_thousand_slots_are_decided_in_two_milliseconds(self, policy):
        memory, took_ms = None, []
        for tick in range(60):
            observation = seen(7.0 * tick, 3000 + tick % 50, 1000)
            began = time.perf_counter()
            _, memory = policy.recommend(memory, observation, 1000)
            took_ms.append((time.perf_counter() - began) * 1000)
        # The median: a machine that does other things too is no fault of the policy's.
        assert statistics.median(took_ms) < 2


class TestSections:
    def test_defaults_are_those_of_the_class(self, policy):
        kind = type(policy)
        settings = [f.name for f in dataclasses.fields(kind) if not f.metadata.get("wired")]
        assert {n: getattr(policy, n) for n in settings} == {
            n: getattr(kind(), n) for n in settings
        }
        assert policy_names() == tuple(BY_NAME)

    def test_what_is_written_comes_out(self, tmp_path: Path):
        file = tmp_path / "lab.toml"
        file.write_text(
            '[policy]\nsteer = "hpa"\nshadow = ["kpa", "nomad-target"]\n'
            '[policy.hpa]\nmetrics = [{ metric = "p95_ms", target = 250 }]\n'
            "[policy.hpa.scale_down]\nstabilization_window_s = 30\n"
            '[policy.combine]\nmembers = ["kpa", "pinned"]\n',
            encoding="utf-8",
        )
        policies = load(file).settings.policy
        assert (policies.steer, policies.shadow) == ("hpa", ("kpa", "nomad-target"))
        hpa = policies.built("hpa")
        assert isinstance(hpa, Hpa)
        assert (hpa.metrics[0].metric, hpa.metrics[0].target) == (Metric.P95_MS, 250)
        assert hpa.scale_down == dataclasses.replace(Hpa().scale_down, stabilization_window_s=30)
        assert hpa.scale_up == Hpa().scale_up
        assert [each.name for each in policies.built("combine").policies] == ["kpa", "pinned"]

    def test_lists_of_tables_are_shown_as_they_are_written(self):
        assert flatten(SETTINGS)["policy.hpa.metrics"] == [{"metric": "cpu", "target": 80.0}]
        assert flatten(SETTINGS)["policy.shadow"] == []

    def test_general_guards_come_from_their_section(self):
        assert build(load(None, ("guards.shrink_after_s=3",)).settings.guards)[0] == (
            ShrinkStabilisation(3)
        )
        names = [each.name for each in dataclasses.fields(GuardSettings)]
        assert [k.removeprefix("guards.") for k in flatten(SETTINGS) if "guards." in k] == names

    @pytest.mark.parametrize(
        ("override", "expected"),
        [
            ("policy.hpa.tolerance=-1", "policy.hpa.tolerance = -1 (--set): must be a number, at least 0; the nearest is 0"),
            ("policy.hpa.tolerance=inf", "policy.hpa.tolerance = inf (--set): must be a number, at least 0"),
            ("policy.kpa.target=0", "policy.kpa.target = 0 (--set): must be a number above 0"),
            ("policy.hpa.sync_period_s=0", "policy.hpa.sync_period_s = 0 (--set): must be a number of seconds above 0 and at most 3600"),
            ("policy.hpa.behavior=1", "policy.hpa.behavior = 1 (--set): must be true or false"),
            ("policy.nomad-target.max_scale_up='4'", 'policy.nomad-target.max_scale_up = "4" (--set): must be a whole number from 0 to 1000000; write 4 without quotes'),
            ("policy.hpa.metrics=cpu", 'policy.hpa.metrics = "cpu" (--set): must be a list in brackets'),
            ("policy.hpa.metrics=[3]", "policy.hpa.metrics.0 = 3 (--set): must be a table in braces, like {key = value}"),
            ("policy.hpa.metrics=[{metric='cpuu'}]", 'policy.hpa.metrics.0.metric = "cpuu" (--set): must be in_flight, queued, concurrency, requests_per_s, errors_per_s, p50_ms, p95_ms, p99_ms, cpu or memory; did you mean cpu?'),
            ("policy.hpa.metrics=[{metrik='cpu'}]", "policy.hpa.metrics.0.metrik (--set): no such setting; did you mean policy.hpa.metrics.0.metric?"),
            ("policy.hpa.scale_up.policies=[{type='Pods', period_s=15}]", "policy.hpa.scale_up.policies.0.value (--set): must be given, a whole number above 0"),
            ("policy.hpa.scale_up=3", "policy.hpa.scale_up = 3 (--set): must be a section: write [policy.hpa.scale_up] and its keys below it"),
            ("policy.hpaa.tolerance=1", "policy.hpaa (--set): no such setting; did you mean policy.hpa?"),
            ("policy.hpa.min_replica=1", "policy.hpa.min_replica (--set): no such setting; did you mean policy.hpa.min_replicas?"),
            # what only the policy itself can know
            ("policy.hpa.metrics=[]", "policy.hpa = {…} (--set): metrics must name at least one metric"),
            ("policy.nomad-threshold.checks=[{delta=1}]", "policy.nomad-threshold.checks.0 = {…} (--set): a check must have either lower_bound or upper_bound"),
            ("policy.schedule.zone=Mars", "policy.schedule = {…} (--set): 'Mars' is no time zone; one is Europe/Berlin"),
            # off by one letter
            ("policy.steer=hpaa", f'policy.steer = "hpaa" (--set): must be {", ".join(list(BY_NAME)[:-1])} or {list(BY_NAME)[-1]}; did you mean hpa?'),
            ("policy.shadow=['kpaa']", f'policy.shadow.0 = "kpaa" (--set): must be {", ".join(list(BY_NAME)[:-1])} or {list(BY_NAME)[-1]}; did you mean kpa?'),
            ("policy.combine.members=['labb']", f"policy.combine.members = […] (--set): 'labb' is no policy; there are {', '.join(BY_NAME)}"),
        ],
    )  # fmt: skip
    def test_refusals_name_the_key_and_what_is_right(self, override, expected):
        with pytest.raises(UsageError) as raised:
            load(None, (override,))
        assert str(raised.value) == expected
