"""The views: trace lines in, text out. No clock, no terminal, no scaler."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from lab.core.model import (
    Action,
    Decision,
    Memory,
    Metrics,
    Observation,
    Operator,
    Outcome,
    Phase,
    Recommendation,
    Slot,
    Verb,
)
from lab.trace import to_line
from lab.views import chart, tables, words
from lab.views.changes import Kind
from lab.views.picture import svg
from lab.views.screen import render
from lab.views.state import (
    MAX_EVENTS,
    MAX_SAMPLES,
    ViewState,
    fold,
    new_events,
    with_progress,
)
from lab.views.terminal import LiveView

BUSY = Metrics(14, 2, 120.4, 0.0, 101.0, 212.0, 250.0)


def slots(*phases: Phase, **fields: Any) -> tuple[Slot, ...]:
    return tuple(Slot(number, phase, **fields) for number, phase in enumerate(phases, 1))


def line(
    at_s: float = 0.0,
    seen: tuple[Slot, ...] = slots(Phase.SERVING, Phase.EMPTY),
    wanted: int = 1,
    sentence: str = "keep 1: enough",
    metrics: Metrics = BUSY,
    actions: tuple[Action, ...] = (),
    outcomes: tuple[Outcome, ...] = (),
    operator: Operator = Operator(),  # noqa: B008
    unknown: str = "",
) -> dict[str, Any]:
    observation = Observation(1000.0 + at_s, seen, metrics, operator, unknown)
    decision = Decision(wanted, Recommendation(wanted, ""), (), actions, Memory(), sentence)
    text = to_line(
        0, datetime(2024, 1, 1, tzinfo=UTC), "sessions", observation, decision, outcomes, 3.0
    )
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def folded(*lines: dict[str, Any]) -> ViewState:
    state = ViewState(world="lxd", scenario="ramp")
    for each in lines:
        state = fold(state, each)
    return state


def ramp(total_s: float = 110.0, slot_count: int = 8) -> list[dict[str, Any]]:
    """1 → 6 → 1 servers, a tick each quarter of a second."""
    found, before = [], 1
    for tick in range(int(total_s * 4)):
        at_s = tick / 4
        servers = round(1 + 5 * max(0.0, 1 - abs(at_s - total_s / 2) / (total_s / 3)))
        phases = [Phase.SERVING] * servers + [Phase.STOPPED] * (slot_count - servers)
        growing = servers > before
        actions = (Action(Verb.SERVE, servers, "was empty"),) if growing else ()
        said = f"{'grow' if growing else 'keep'} {servers}: ceil({servers * 4} in flight / 4)"
        found.append(line(at_s, slots(*phases, sessions=4), servers, said, actions=actions))
        before = servers
    return found


def shown(renderable: RenderableType, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def texts(state: ViewState) -> list[str]:
    return [event.text for event in state.events]


class TestFold:
    def test_memory_stays_bounded_in_a_watch_without_an_end(self) -> None:
        state = folded(*(line(tick / 2, wanted=tick % 5) for tick in range(3000)))
        assert len(state.samples) == MAX_SAMPLES
        assert len(state.events) == MAX_EVENTS
        assert state.events_seen > MAX_EVENTS
        assert state.samples[-1].at_s == state.elapsed_s

    def test_a_long_scenario_is_kept_from_its_beginning_in_coarser_steps(self) -> None:
        state = ViewState()
        for tick in range(3000):
            state = with_progress(fold(state, line(tick / 2)), tick / 2, 1500)
        assert state.samples[0].at_s == 0.0
        assert state.samples[-1].at_s == pytest.approx(state.elapsed_s, abs=state.sample_s)
        assert len(state.samples) <= MAX_SAMPLES

    def test_a_peak_between_two_samples_is_not_lost(self) -> None:
        state = folded(line(0.0, metrics=replace(BUSY, p95_ms=900.0)), line(0.25))
        assert [sample.p95_ms for sample in state.samples] == [900.0]

    def test_what_was_not_measured_stays_unknown(self) -> None:
        state = folded(line(metrics=Metrics(in_flight=3)))
        assert (state.samples[0].demand, state.samples[0].p95_ms) == (None, None)

    def test_ticks_that_change_nothing_are_no_events(self) -> None:
        state = folded(*(line(tick / 4) for tick in range(100)))
        assert texts(state) == ["1 of 2 slots serving"]

    def test_a_new_number_is_told_by_the_scalers_sentence(self) -> None:
        grow = line(1.0, wanted=2, sentence="grow 1 → 2: 8 / 4")
        state = folded(line(), grow)
        assert texts(state)[-1] == "grow 1 → 2: 8 / 4"
        assert state.events[-1].at_s == 1.0

    def test_actions_without_a_new_number_are_told_with_their_reason(self) -> None:
        parks = tuple(Action(Verb.PARK, number, "drained") for number in (2, 3))
        assert texts(folded(line(), line(1.0, actions=parks)))[-1] == "park 2, 3 (drained)"

    def test_outcomes_are_told_with_their_seconds_and_errors(self) -> None:
        def serve(slot: int, took_s: float, error: str = "") -> Outcome:
            return Outcome(Action(Verb.SERVE, slot, ""), took_s, error)

        ended = (serve(2, 0.41), serve(3, 0.52), serve(4, 30.0, "no address"))
        state = folded(line(), line(1.0, outcomes=ended))
        assert [(event.kind, event.text) for event in state.events[-2:]] == [
            (Kind.FAILED, "serve 4: after 30 s: no address"),
            (Kind.DONE, "serve 2, 3: took 0.41 to 0.52 s"),
        ]

    def test_a_slot_that_breaks_is_told_once_and_with_its_fault(self) -> None:
        broken = slots(Phase.SERVING, Phase.BROKEN, fault="no answer for 5 s")
        state = folded(line(), line(1.0, broken), line(2.0, broken))
        assert texts(state)[1:] == ["slot 2: no answer for 5 s"]

    def test_failed_requests_are_told_when_they_begin_and_when_they_end(self) -> None:
        failing = replace(BUSY, errors_per_s=1.5)
        state = folded(line(), line(1, metrics=failing), line(2, metrics=failing), line(3))
        assert texts(state)[1:] == ["1.5 failed requests a second", "no more failed requests"]

    def test_what_a_person_asked_for_is_told(self) -> None:
        pinned, paused = Operator(pin=3), Operator(pin=3, paused=True)
        state = folded(line(), line(1, operator=pinned), line(2, operator=paused), line(3))
        assert texts(state)[1:] == ["pinned to 3", "paused", "resumed", "unpinned"]

    def test_what_cannot_be_observed_is_told_until_it_can(self) -> None:
        blind = line(1, unknown="HAProxy does not answer")
        state = folded(line(), blind, line(2))
        assert texts(state)[1:] == [
            "HAProxy does not answer, so nothing is done",
            "all can be observed again",
        ]

    def test_a_world_clock_that_went_back_begins_a_new_record(self) -> None:
        old = folded(line(500.0), line(510.0))
        new = fold(old, line(3.0))
        assert (new.elapsed_s, len(new.samples), new.scenario) == (0.0, 1, "ramp")
        assert [event.kind for event in new_events(old, new)] == [Kind.START]

    def test_new_events_are_those_of_the_last_line(self) -> None:
        before = folded(line())
        after = fold(before, line(1.0, wanted=2, sentence="grow"))
        assert [event.text for event in new_events(before, after)] == ["grow"]
        assert new_events(after, fold(after, line(2.0, wanted=2))) == ()


class TestRender:
    @pytest.mark.parametrize(
        ("width", "height"), [(80, 24), (80, 23), (120, 32), (200, 60), (60, 16), (30, 8), (20, 4)]
    )
    @pytest.mark.parametrize("slot_count", [1, 8, 12, 40, 400])
    def test_it_fits_at_every_moment(self, width: int, height: int, slot_count: int) -> None:
        state = ViewState(lab="lab", world="lxd", scenario="a-scenario-with-a-long-name")
        for each in [None, *ramp(20.0, max(slot_count, 6))[::11]]:
            if each is not None:
                each["observation"]["slots"] = each["observation"]["slots"][:slot_count]
                state = with_progress(fold(state, each), state.elapsed_s, 20.0, 24)
            lines = render(state, width, height).split("\n", allow_blank=True)
            assert len(lines) == height
            assert max(part.cell_len for part in lines) <= width

    def test_the_terminal_gets_as_many_lines_as_were_asked_for(self) -> None:
        lines = shown(render(folded(*ramp(20.0)), 80, 24)).splitlines()
        assert len(lines) == 24
        assert max(map(len, lines)) <= 80

    def test_80_by_24_has_all_that_matters(self) -> None:
        state = with_progress(folded(*ramp()), 110.0, 110.0, 24)
        text = shown(render(state, 80, 24))
        for expected in (
            *("world lxd", "policy sessions", "ramp", "1:50 of 1:50", "24 users", "serving"),
            *("wanted", "in flight", "queued", "req/s", "errors/s", "p50", "p95", "p99"),
            *("servers", "demand", "0:30", "scaler  keep 1:", "█"),
        ):
            assert expected in text

    def test_what_is_unknown_is_a_dash_and_never_zero(self) -> None:
        lines = shown(render(folded(line(metrics=Metrics())), 80, 24)).splitlines()
        values = next(lines[at + 1] for at, text in enumerate(lines) if "in flight" in text)
        assert values.split() == ["1", "1", *["–"] * 7]
        p95 = next(text for text in lines if text.startswith("p95"))
        assert p95.split() == ["p95", "–", "│·"]

    def test_every_phase_is_readable_without_colour(self) -> None:
        text = shown(render(folded(line(seen=slots(*Phase))), 80, 24))
        for phase in Phase:
            assert text.count(str(phase)) >= 2  # in its tile, and in the count below

    def test_many_slots_are_letters_that_the_counts_explain(self) -> None:
        seen = slots(*[Phase.SERVING] * 30, *[Phase.DRAINING] * 20, *[Phase.EMPTY] * 50)
        text = shown(render(folded(line(seen=seen)), 80, 24))
        assert "SSSSSSSSSS" in text
        assert "D  draining 20" in text

    def test_a_pause_a_pin_and_a_silent_scaler_stand_in_the_title(self) -> None:
        operator = Operator(pin=4, pin_left_s=12.0, paused=True)
        state = replace(folded(line(operator=operator)), silent_s=7.0)
        title = shown(render(state, 80, 24)).splitlines()[0]
        for flag in ("NO WORD FOR 7.0 s", "PAUSED", "PINNED TO 4 FOR 12 s"):
            assert flag in shown(render(state, 120, 24), 120).splitlines()[0]
        assert title.rstrip().endswith("0:00")

    def test_failed_actions_stand_out_by_a_word(self) -> None:
        failed = Outcome(Action(Verb.SERVE, 2, ""), 30.0, "no address")
        text = shown(render(folded(line(), line(1.0, outcomes=(failed,))), 80, 24))
        assert "✗ failed: serve 2: after 30 s: no address" in text

    def test_braces_and_markup_in_texts_are_left_alone(self) -> None:
        text = shown(render(folded(line(sentence="keep 1: [bold]x[/] {y}")), 80, 24))
        assert "keep 1: [bold]x[/] {y}" in text


class TestChart:
    def test_bars_are_drawn_in_eighths(self) -> None:
        assert chart.bars([0, 1, 4, 8, None], 8, 1) == ["▁▁▄█·"]
        assert chart.bars([4, 8, 16], 16, 2) == ["  █", "▄██"]

    def test_servers_that_are_wanted_and_do_not_serve_are_shaded(self) -> None:
        drawn = chart.servers([1, 2], [2, 2], 2, 2, "", "")
        assert [row.plain for row in drawn] == ["░█", "██"]

    def test_columns_end_where_time_is_now_and_hold_the_last_value(self) -> None:
        points = [(0.0, 1.0), (0.4, 3.0), (4.0, None), (5.0, 2.0)]
        assert chart.columns(points, 0.0, 10.0, 10) == [3.0, 3.0, 3.0, 3.0, None, 2.0]

    @given(
        st.lists(st.none() | st.floats(0, 1e6), max_size=50), st.floats(0.1, 1e6), st.integers(1, 9)
    )
    def test_bars_keep_their_size(self, values: list[float | None], top: float, rows: int) -> None:
        drawn = chart.bars(values, top, rows)
        assert [len(row) for row in drawn] == [len(values)] * rows

    def test_the_axis_names_the_minutes(self) -> None:
        assert chart.axis(0, 120, 40).split() == ["0:00", "0:30", "1:00", "1:30"]
        assert len(chart.axis(3.2, 7200, 64)) == 64


class TestWords:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            (words.clock(59.96, tenths=True), "1:00.0"),
            (words.clock(59.96), "1:00"),
            (words.clock(3661.5), "1:01:01"),
            (words.milliseconds(None), "–"),
            (words.milliseconds(0), "0 ms"),
            (words.milliseconds(4.21), "4.2 ms"),
            (words.milliseconds(999.7), "1 s"),
            (words.milliseconds(1234), "1.23 s"),
            (words.rate(0.04), "0.0"),
            (words.rate(0), "0"),
            (words.rate(120.4), "120"),
            (words.seconds(0.412), "0.41 s"),
            (words.seconds(125), "2:05"),
            (words.plural(1, "user"), "1 user"),
            (words.plural(0, "user"), "0 users"),
        ],
    )
    def test_numbers_read_as_people_write_them(self, said: str, expected: str) -> None:
        assert said == expected


class TestLiveView:
    def test_without_a_terminal_each_change_is_one_plain_line(self) -> None:
        output = io.StringIO()
        lines = ramp()
        with LiveView("lab", "lxd", "ramp", console=Console(file=output, width=40)) as view:
            for each in lines:
                view.line(each)
                view.progress(each["at_s"] - 1000.0, 110.0, 24)
        printed = output.getvalue().splitlines()
        assert printed[0] == "  0:00.0  start    1 of 8 slots serving"
        assert len(printed) == 1 + 10  # five steps up and five down, of 440 ticks
        assert "\x1b" not in output.getvalue()
        assert all(" decide " in each for each in printed[1:])

    def test_on_a_terminal_the_last_frame_is_left_standing(self) -> None:
        output = io.StringIO()
        console = Console(
            file=output, width=80, height=24, force_terminal=True, color_system="truecolor"
        )
        with LiveView("lab", "lxd", console=console) as view:
            assert view.draws
            view.line(line(sentence="keep 1: the last word"))
        last_frame = output.getvalue().rsplit("\x1b[2K", 1)[-1]
        assert "the last word" in last_frame
        assert "\x1b[?1049h" not in output.getvalue()  # never the alternate screen
        assert output.getvalue().endswith("\x1b[?25h")  # the cursor is back

    def test_the_picture_stops_after_an_error_too(self) -> None:
        output = io.StringIO()
        console = Console(file=output, width=80, height=24, force_terminal=True)
        with pytest.raises(KeyError), LiveView("lab", "lxd", console=console) as view:
            view.line({})
        assert output.getvalue().endswith("\x1b[?25h")
        assert sys.stdout is sys.__stdout__ or not hasattr(sys.stdout, "rich_proxied_file")

    def test_a_scaler_that_fell_silent_is_noticed(self) -> None:
        now_s = [100.0]
        console = Console(file=io.StringIO(), width=100, height=24, force_terminal=True)
        view = LiveView("lab", "lxd", console=console, now_s=lambda: now_s[0])
        view.line(line())
        now_s[0] += 42.0
        assert "NO WORD FOR 42 s" in view._frame().plain

    def test_progress_of_unknown_length_has_no_end(self) -> None:
        view = LiveView("lab", "lxd", "ab", console=Console(file=io.StringIO()))
        view.line(line())
        view.progress(12.0, None)
        text = shown(render(view.state, 80, 24))
        assert "0:12" in text
        assert "0:12 of" not in text

    def test_the_charts_wait_for_a_load_that_has_not_begun(self) -> None:
        state = folded(line(0.0))
        for at_s in range(1, 20):
            state = with_progress(fold(state, line(at_s)), 0.0, 60.0)
        assert state.progress is not None
        assert state.progress.began_s == pytest.approx(19.0, abs=2.0)


class TestPicture:
    def test_the_bars_become_shapes_that_no_font_can_spoil(self, tmp_path: Path) -> None:
        path = tmp_path / "demo.svg"
        svg(ramp(), path, scenario="ramp", total_s=110.0, until_s=60.0)
        text = path.read_text(encoding="utf-8")
        assert "█" not in text
        assert text.count('shape-rendering="crispEdges"') > 10
        assert "1:00&#160;of&#160;1:50" in text


VERDICT: dict[str, Any] = {
    "scenario": "ramp",
    "policy": "sessions",
    "world": "lxd",
    "passed": False,
    "expectations": [
        {"expected": "at least 4 serving by 40 s", "seen": "5", "held": True},
        {"expected": "1 serving again by 120 s", "seen": "2 at 120 s", "held": False},
    ],
    **{"requests": 12034, "failed": 0, "p50_ms": 101.2, "p95_ms": 212.0, "p99_ms": None},
    **{"peak_servers": 6, "final_servers": 2, "container_seconds": 401.2, "theta_u": 3.2},
    **{"theta_o": 20.1, "tau_u": 7.1, "tau_o": 40.3, "instability": None, "flaps": 1},
}

STATUS: dict[str, Any] = {
    "lab": "lab",
    "world": "lxd",
    "service_url": "http://127.0.0.1:8080/",
    "statistics_url": "http://127.0.0.1:8404/",
    "share": {"kind": "directory", "path": "/srv/lab", "notice": "this kernel serves no NFS"},
    "template": "debian 12, recipe 3f9a12",
    "scaler": {
        **{"pid": 4711, "last_tick_age_s": 0.2, "paused": True, "pin": 3, "pin_left_s": None},
    },
    "slots": [
        {"number": 1, "phase": "serving", "for_s": 12.0, "sessions": 4, "queued": 0},
        {"number": 2, "phase": "broken", "for_s": 3.0, "fault": "no [address]"},
        *({"number": number, "phase": "empty", "for_s": 9.0} for number in range(3, 9)),
    ],
}


class TestTables:
    def test_a_failed_verdict_names_the_expectation_that_failed(self) -> None:
        lines = shown(tables.verdict(VERDICT)).splitlines()
        assert "FAILED" in lines[0]
        assert "1 of 2 expectations not met" in lines[0]
        failed = [text for text in lines if "✗" in text]
        assert len(failed) == 1
        assert " ".join(failed[0].split()) == ("✗ failed 1 serving again by 120 s seen: 2 at 120 s")

    def test_a_passed_verdict_says_so_and_nothing_failed(self) -> None:
        held = [{**each, "held": True} for each in VERDICT["expectations"]]
        text = shown(tables.verdict({**VERDICT, "passed": True, "expectations": held}))
        assert "PASSED" in text
        assert "✗" not in text
        assert text.count("✓ held") == 2

    def test_a_verdicts_unknown_numbers_are_dashes(self) -> None:
        text = shown(tables.verdict(VERDICT))
        assert "p99 –" in text
        assert "1 flap, instability –" in text

    def test_status_says_where_each_slot_is(self) -> None:
        text = shown(tables.status(STATUS))
        for expected in (
            *("http://127.0.0.1:8080/", "/srv/lab (directory)", "this kernel serves no NFS"),
            *("running (process 4711)", "paused (lab resume)", "pinned to 3 (lab unpin)"),
            *("3 to 8", "no [address]"),
        ):
            assert expected in text

    def test_status_of_a_lab_that_is_down_names_the_command(self) -> None:
        text = shown(tables.status({"lab": "lab", "world": "lxd", "slots": []}))
        assert "scaler      not running: lab up" in text
        assert "no slots yet: lab up" in text

    def test_settings_stand_with_their_origin(self) -> None:
        text = shown(tables.settings([("pool.max", 6, "lab.toml:12"), ("server.cpus", None, "")]))
        assert [each.split() for each in text.splitlines()] == [
            ["setting", "value", "from"],
            ["pool.max", "6", "lab.toml:12"],
            ["server.cpus", "none"],
        ]

    def test_doctor_gives_each_problem_its_remedy(self) -> None:
        checks = [
            {"name": "root", "status": "ok", "detail": "yes", "remedy": ""},
            {"name": "NFS", "status": "warn", "detail": "none", "remedy": "sudo modprobe nfsd"},
            {"name": "HAProxy", "status": "fail", "detail": "missing", "remedy": "apt install x"},
        ]
        text = shown(tables.doctor(checks))
        assert "→ sudo modprobe nfsd" in text
        assert "✗ fail  HAProxy" in text
        assert "The lab cannot run yet: 1 thing to mend." in text
        assert "with 1 limitation" in shown(tables.doctor(checks[:2]))
        assert "nothing is missing" in shown(tables.doctor(checks[:1]))

    @pytest.mark.parametrize("width", [60, 80, 120])
    def test_tables_keep_within_the_width(self, width: int) -> None:
        for renderable in (tables.verdict(VERDICT), tables.status(STATUS)):
            assert max(map(len, shown(renderable, width).splitlines())) <= width
