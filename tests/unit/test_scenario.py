"""Scenario files: shapes, the envelope's forms, and what is said about a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import UsageError
from lab.load.scenario import KINDS, find_scenario, list_scenarios, load_scenario
from lab.load.shapes import PointsShape, RampShape, Shape, SpikeShape, StepsShape

GOOD = """
about = "up and down"
settle_s = 40

[load]
kind = "points"
points = [[0, 2], [30, 26], [60, 2]]

[requests]
mix = [{ path = "/work?ms=200", weight = 9 }, { path = "/" }]

[envelope]
expect = [{ at_least = 4, serving_by_s = 40 }, { max_failed = 0 }, { p95_ms = 800 }]
"""


def written(folder: Path, text: str = GOOD, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, right: str, wrong: str) -> str:
    """What is said when `right` in a good scenario is written as `wrong`."""
    assert right in GOOD
    path = written(folder, GOOD.replace(right, wrong, 1))
    with pytest.raises(UsageError) as error:
        load_scenario(path)
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith(f"{path}: ")
    return said.removeprefix(f"{path}: ")


def test_a_scenario_is_named_after_its_file(tmp_path: Path) -> None:
    scenario = load_scenario(written(tmp_path))

    assert scenario.name == "mine"
    assert scenario.duration_s == 60
    assert [request.weight for request in scenario.requests.mix] == [9, 1]
    assert [str(expectation) for expectation in scenario.expect] == [
        "at least 4 serving by 40 s",
        "no failed request",
        "p95 at most 800 ms",
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("settle_s", "setle_s", "unknown key setle_s: did you mean settle_s?"),
        ("points =", "pionts =", "unknown key load.pionts: did you mean points?"),
        ("weight", "weigth", "unknown key requests.mix[0].weigth: did you mean weight?"),
        ("mix", "mics", "unknown key requests.mics: did you mean mix?"),
        ('"points"', '"pints"', "load.kind = 'pints': did you mean points?"),
        ('kind = "points"', "", "load.kind is missing: one of " + ", ".join(KINDS)),
        (", serving_by_s = 40", "", "envelope.expect[0].serving_by_s is missing"),
        (
            "serving_by_s",
            "serving_by",
            "unknown key envelope.expect[0].serving_by: did you mean serving_by_s?",
        ),
        ("[0, 2]", "[1, 2]", "load.points: the first point is at 1 s: begin at 0 s"),
        ("[30", "[70", "load.points: 60 s stands after 70 s: put them in order"),
        (
            "by_s = 40",
            "by_s = 101",
            "envelope.expect[0].serving_by_s = 101 is past the end of the run at 100 s "
            "(load and settle_s): make settle_s larger",
        ),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(
    tmp_path: Path, right: str, wrong: str, said: str
) -> None:
    assert refusal(tmp_path, right, wrong) == said


def test_a_misspelt_expectation_is_answered_with_all_forms_and_the_nearest(tmp_path: Path) -> None:
    said = refusal(tmp_path, "max_failed = 0", "max_fail = 0")

    assert said.startswith("envelope.expect[1] is none of {at_least = 4, serving_by_s = 40}, ")
    assert said.endswith(": did you mean max_failed?")


@pytest.mark.parametrize("wrong", ["[0, -1]", "[0, 2.5]", '[0, "x"]', "[0]"])
def test_a_point_that_is_no_pair_of_second_and_users_is_refused(tmp_path: Path, wrong: str) -> None:
    assert refusal(tmp_path, "[0, 2]", wrong).startswith("load.points[0][1]")


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[load]", "[load").startswith("not TOML: ")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_scenario(tmp_path / "none.toml")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no scenario 'dmo': did you mean demo"):
        find_scenario("dmo")


def test_the_users_own_scenario_goes_before_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loadtests/scenarios").mkdir(parents=True)
    own = written(tmp_path / "loadtests/scenarios", name="demo.toml")

    assert load_scenario("demo").path == own
    assert load_scenario("spike").path != own


@pytest.mark.parametrize("name", ["demo", "ramp", "smoke", "spike", "steps"])
def test_every_shipped_scenario_is_valid(name: str) -> None:
    assert name in list_scenarios()
    assert load_scenario(name).about.endswith((".", "?"))


def test_the_demo_takes_at_most_two_minutes_and_asks_for_six_of_eight_servers() -> None:
    demo = load_scenario("demo")

    assert demo.duration_s + demo.settle_s <= 120
    sessions_per_server, most_servers = 4, 8
    assert 6 < demo.load.peak_users / sessions_per_server < most_servers


@pytest.mark.parametrize(
    ("shape", "users_by_s"),
    [
        (
            PointsShape(kind="points", points=((0, 2), (10, 12), (20, 2))),
            {0: 2, 5: 7, 10: 12, 19: 3, 20: 2, 99: 2},
        ),
        (
            RampShape(kind="ramp", low=2, high=12, rise_s=10, hold_s=5, fall_s=10, rest_s=5),
            {0: 2, 5: 7, 12: 12, 15: 12, 20: 7, 25: 2, 30: 2},
        ),
        (
            StepsShape(kind="steps", users=(1, 5, 3), each_s=10),
            {0: 1, 9.99: 1, 10: 5, 19.99: 5, 20: 3, 30: 3},
        ),
        (
            SpikeShape(kind="spike", base=3, peak=24, before_s=15, spike_s=40, after_s=20),
            {0: 3, 14.99: 3, 15: 24, 54.99: 24, 55: 3, 75: 3},
        ),
        (
            SpikeShape(kind="spike", base=3, peak=24, before_s=0, spike_s=10),
            {0: 24, 9.99: 24, 10: 3},
        ),
        (RampShape(kind="ramp", low=0, high=4, rise_s=4), {0: 0, 1: 1, 4: 0}),
    ],
)
def test_a_shape_says_how_many_users_there_are(shape: Shape, users_by_s: dict[float, int]) -> None:
    assert {t_s: shape.users_at(t_s) for t_s in users_by_s} == users_by_s


points = (
    st.lists(
        st.tuples(st.integers(1, 1000), st.integers(0, 100)),
        min_size=1,
        max_size=8,
    )
    .map(lambda rest: ((0, 5), *sorted(rest)))
    .map(lambda all_points: PointsShape(kind="points", points=all_points))
)


@given(points, st.floats(0, 1100))
def test_users_stay_between_the_least_and_the_most_of_the_points(
    shape: PointsShape, t_s: float
) -> None:
    users = [number for _, number in shape.points]
    assert min(users) <= shape.users_at(t_s) <= max(users)


@given(points)
def test_the_last_point_of_a_second_is_what_counts_in_it(shape: PointsShape) -> None:
    last_of_second = dict(shape.points)
    assert {second: shape.users_at(second) for second in last_of_second} == last_of_second
