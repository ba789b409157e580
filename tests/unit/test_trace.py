from __future__ import annotations

import json
from datetime import UTC, datetime

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
from lab.trace import (
    TraceFollower,
    TraceWriter,
    find_tick,
    last_line,
    newest_lines,
    observation_of,
    read_trace,
    to_line,
)

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def line(number: int = 0) -> str:
    seen = Observation(
        12.5,
        (Slot(1, Phase.SERVING, sessions=3), Slot(2, Phase.BOOTING, doing=Verb.SERVE)),
        Metrics(in_flight=3, queued=0, total_ms=(201, 203)),
        Operator(pin=2, pin_left_s=3.5),
        utc_s=AT.timestamp(),
    )
    action = Action(Verb.SERVE, 3, "was empty")
    decision = Decision(
        2, Recommendation(2, "pinned"), (), (action,), Memory(), "grow 1 → 2: pinned"
    )
    outcome = Outcome(action, 0.5, "", (("start", 0.2),))
    return to_line(number, AT, "sessions", seen, decision, (outcome,), 1.234)


def test_an_observation_comes_back_from_the_trace_as_it_was():
    seen = observation_of(json.loads(line()))
    assert seen.slots[1].doing is Verb.SERVE
    assert seen.slots[0].phase is Phase.SERVING
    assert seen.metrics.total_ms == (201, 203)
    assert seen.metrics.p95_ms is None
    assert seen.operator == Operator(pin=2, pin_left_s=3.5)
    assert seen.utc_s == AT.timestamp()


def test_a_follower_reads_what_is_added_also_across_a_rotation(tmp_path):
    path = tmp_path / "trace.jsonl"
    writer = TraceWriter(path, rotate_bytes=3 * len(line()))
    writer.write(line(0))
    follower = TraceFollower(path)
    for number in range(1, 9):
        writer.write(line(number))
        assert [json.loads(text)["tick"] for text in follower.read()] == [number]
    assert (tmp_path / "trace.jsonl.1").exists()
    assert last_line(path)["tick"] == 8
    assert find_tick(path, 8)["tick"] == 8
    assert find_tick(path, 99) is None
    follower.close()
    writer.close()


def test_a_line_that_is_not_whole_is_not_read(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text(line(0) + "\n" + line(1) + "\n" + line(2)[:50])
    assert [read["tick"] for read in read_trace(path)] == [0, 1]
    assert last_line(path)["tick"] == 1
    follower = TraceFollower(path, from_start=True)
    assert len(list(follower.read())) == 2
    with path.open("a") as file:
        file.write(line(2)[50:] + "\n")
    assert [json.loads(text)["tick"] for text in follower.read()] == [2]
    follower.close()


def test_no_trace_is_nothing_and_no_error(tmp_path):
    assert last_line(tmp_path / "none.jsonl") is None
    assert newest_lines(tmp_path / "none.jsonl", 5) == []
