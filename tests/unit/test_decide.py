"""The whole decision, as a timeline."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lab.core.decide import Brain, decide
from lab.core.guards import Limits, ShrinkStabilisation
from lab.core.model import Memory, Metrics, Observation, Operator, Phase, Slot
from lab.core.policies.sessions import Sessions

BRAIN = Brain(Sessions(5, 1), (ShrinkStabilisation(8),), Limits(1, 8), drain_deadline_s=30)


def pool(serving: int, slots: int = 8) -> tuple[Slot, ...]:
    return tuple(
        Slot(number, Phase.SERVING if number <= serving else Phase.EMPTY)
        for number in range(1, slots + 1)
    )


def seen(at_s, serving, in_flight, queued=0, operator=None, unknown=""):
    metrics = Metrics(in_flight=in_flight, queued=queued)
    return Observation(at_s, pool(serving), metrics, operator or Operator(), unknown)


def told(decision):
    return [str(action) for action in decision.actions]


def test_interoutes_example_4_servers_run_and_32_sessions_need_3_more():
    decision = decide(BRAIN, Memory(), seen(0, 4, 32))
    assert decision.wanted == 7
    assert told(decision) == ["serve 5", "serve 6", "serve 7"]
    assert decision.sentence.startswith("grow 4 → 7: ceil(32.0 in flight and queued")


def test_the_limits_say_what_they_changed():
    decision = decide(BRAIN, Memory(), seen(0, 1, 100))
    assert decision.wanted == 8
    assert "limits makes it 8 (pool.max is 8)" in decision.sentence


def test_shrinking_waits_and_then_happens():
    memory = Memory()
    wanted = []
    for at_s in (0, 4, 8, 9, 12):
        decision = decide(BRAIN, memory, seen(at_s, 4, 20 if at_s == 0 else 2))
        memory = decision.memory
        wanted.append(decision.wanted)
    assert wanted == [4, 4, 1, 1, 1]


def test_a_scaler_that_has_just_started_does_not_shrink_the_pool():
    decision = decide(BRAIN, Memory(), seen(0, 6, 0))
    assert decision.wanted == 6
    assert decision.actions == ()


def test_growing_does_not_wait():
    first = decide(BRAIN, Memory(), seen(0, 4, 2))
    assert decide(BRAIN, first.memory, seen(0.25, 4, 60)).wanted == 7


def test_a_pin_goes_before_the_policy_and_shrinks_at_once():
    decision = decide(BRAIN, Memory(), seen(0, 6, 60, operator=Operator(pin=2)))
    assert decision.wanted == 2
    assert told(decision) == ["drain 6", "drain 5", "drain 4", "drain 3"]
    assert "pinned to 2 by hand" in decision.sentence


def test_a_pin_outside_the_limits_is_bounded():
    assert decide(BRAIN, Memory(), seen(0, 1, 0, operator=Operator(pin=20))).wanted == 8


def test_paused_decides_and_does_nothing():
    decision = decide(BRAIN, Memory(), seen(0, 1, 40, operator=Operator(paused=True)))
    assert decision.wanted == 8
    assert decision.actions == ()
    assert "paused, so nothing is done" in decision.sentence


def test_a_world_that_does_not_answer_is_left_alone():
    decision = decide(BRAIN, Memory(), seen(0, 4, None, None, unknown="HAProxy does not answer"))
    assert decision.wanted == 4
    assert decision.actions == ()
    assert "HAProxy does not answer, so nothing is done" in decision.sentence


@given(
    st.integers(0, 8),
    st.none() | st.integers(0, 500),
    st.integers(0, 500),
    st.none() | st.integers(0, 20),
)
def test_never_outside_the_limits_and_always_the_same(serving, in_flight, queued, pin):
    observation = seen(0, serving, in_flight, queued, Operator(pin=pin))
    decision = decide(BRAIN, Memory(), observation)
    assert 1 <= decision.wanted <= 8
    assert decide(BRAIN, Memory(), observation) == decision


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), st.integers(1, 8))
def test_unknown_metrics_never_shrink_the_pool(loads, serving):
    memory = Memory()
    for number, load in enumerate(loads):
        memory = decide(BRAIN, memory, seen(number, serving, load)).memory
    decision = decide(BRAIN, memory, seen(len(loads), serving, None, None))
    assert decision.wanted == serving
    assert decision.actions == ()


@given(st.integers(0, 60), st.integers(1, 8))
def test_the_sentence_tells_the_number_that_was_decided(load, serving):
    decision = decide(BRAIN, Memory(), seen(0, serving, load))
    words = decision.sentence.split(":")[0].split()
    assert int(words[-1]) == decision.wanted
