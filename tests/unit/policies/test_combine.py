"""Several policies at once, with the tables of the originals' documentation.

Sources: Nomad, "Scaling policy checks", Resolving conflicts; EC2 Auto Scaling, "Multiple dynamic
scaling policies"; Kubernetes, "Scaling on multiple metrics".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.model import Metrics, Observation, Recommendation
from lab.core.policies.combine import Combine
from lab.core.policies.predictive import Predictive
from lab.core.policies.schedule import Entry, Schedule
from lab.core.policies.sessions import Sessions

NOTHING = Observation(0, ())


@dataclass(frozen=True)
class Says:
    """Always the same; counts its ticks."""

    name: ClassVar[str] = "says"
    servers: int | None = None

    def recommend(self, memory, observation, current):
        return Recommendation(self.servers, f"say {self.servers}"), (memory or 0) + 1


def combine(rule, *numbers):
    return Combine(rule=rule, members=(), policies=tuple(Says(number) for number in numbers))


def told(rule, current, *numbers):
    return combine(rule, *numbers).recommend(None, NOTHING, current)[0]


@pytest.mark.parametrize("rule", ["largest", "agree", "nomad"])
@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((6, 2), 6),  # ScaleOut and ScaleIn => ScaleOut
        ((6, 4), 6),  # ScaleOut and ScaleNone => ScaleOut
        ((2, 4), 4),  # ScaleIn and ScaleNone => ScaleNone
        ((6, 8), 8),  # of two in one direction the higher count
        ((2, 3), 3),
        ((4, 4), 4),
        ((2,), 2),
    ],
)
def test_out_goes_before_none_and_none_before_in(rule, numbers, expected):
    assert told(rule, 4, *numbers).servers == expected
    assert told(rule, 4, *reversed(numbers)).servers == expected


@pytest.mark.parametrize(
    ("rule", "numbers", "expected"),
    [
        ("largest", (2, None), 4),
        ("agree", (2, None), 4),
        ("nomad", (2, None), 2),
        ("largest", (6, None), 6),
        ("agree", (6, None), 6),
        ("nomad", (6, None), 6),
        ("largest", (None, None), None),
        ("nomad", (None,), None),
    ],
)
def test_a_member_that_knows_nothing(rule, numbers, expected):
    assert told(rule, 4, *numbers).servers == expected


def test_it_says_who_decided_and_what_each_said():
    assert told("largest", 4, 2, 3).formula == (
        "the largest is says's: 3 (says: say 2; says: say 3)"
    )
    assert told("agree", 4, 2, 3).formula.startswith("all shrink, says least: 3")
    assert told("nomad", 4, 6, 3).formula.startswith("says grows, and that goes first: 6")
    assert told("agree", 4, 4, 3).formula.startswith("says keeps, and that goes before shrinking")
    assert told("agree", 4, None, 3).formula.startswith("says unknown, so no shrinking: 4")


def test_each_member_has_its_own_memory():
    policy = combine("largest", 1, 2)
    _, memory = policy.recommend(None, NOTHING, 1)
    _, memory = policy.recommend(memory, NOTHING, 1)
    assert memory == (2, 2)


def test_members_are_wired_by_name():
    known = {"a": Says(1), "b": Says(5)}
    policy = Combine(members=("a", "b")).wired(known.__getitem__)
    assert policy.policies == (Says(1), Says(5))
    assert policy.recommend(None, NOTHING, 3)[0].servers == 5


def test_it_is_no_member_of_itself():
    with pytest.raises(ValueError, match="member of itself"):
        Combine(members=("lab", "combine"))


def test_a_schedule_is_a_floor_under_another_policy():
    night = Schedule(entries=(Entry(3, at="1970-01-01T00:01"),))
    policy = Combine(members=(), policies=(Sessions(), night))
    memory, said = None, []
    for at_s, requests, current in ((0, 4, 5), (60, 4, 5), (70, 30, 3), (80, 4, 8)):
        metrics = Metrics(in_flight=requests, queued=0)
        seen = Observation(at_s, (), metrics, utc_s=float(at_s))
        recommendation, memory = policy.recommend(memory, seen, current)
        said.append(recommendation.servers)
    # Before it begins it holds nothing up; then there are three at least.
    assert said == [1, 3, 8, 3]


def test_a_forecast_does_not_keep_servers_that_nobody_needs():
    policy = Combine(members=(), policies=(Sessions(), Predictive()))
    memory, current, said = None, 6, []
    for second in range(5):
        seen = Observation(second, (), Metrics(in_flight=8, queued=0))
        recommendation, memory = policy.recommend(memory, seen, current)
        said.append(recommendation.servers)
    assert said == [2] * 5


NUMBERS = st.lists(st.none() | st.integers(0, 20), min_size=1, max_size=5)


@given(NUMBERS, st.integers(0, 20))
def test_known_members_come_to_the_same_by_every_rule(numbers, current):
    known = [number for number in numbers if number is not None]
    said = {rule: told(rule, current, *known).servers for rule in ("largest", "agree", "nomad")}
    assert set(said.values()) == {max(known, default=None)}


@given(NUMBERS, st.integers(0, 20), st.sampled_from(["largest", "agree"]))
def test_one_unknown_never_lets_the_others_shrink(numbers, current, rule):
    servers = told(rule, current, None, *numbers).servers
    assert servers is None or servers >= current


@given(NUMBERS, st.integers(0, 20))
def test_agreeing_to_shrink_goes_no_lower_than_any_member(numbers, current):
    servers = told("agree", current, *numbers).servers
    assert servers is None or all(servers >= number for number in numbers if number is not None)
