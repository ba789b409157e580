"""Actions in the simulator: their steps, deadlines, errors and what they cost each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.core.model import Phase, Verb
from lab.worlds.sim.faults import ActionFails, Dies, Hangs, Missing, SlowBoot
from support.simulated import EXACT, simulated


def steps(outcome):
    return list(outcome.steps)


def test_an_action_takes_the_measured_times():
    sim = simulated()
    assert steps(sim.do(Verb.SERVE, 1)[1]) == [
        ("create", 0.16),
        ("start", 0.2),
        ("ready", 0.25),
        ("join", 0.002),
    ]
    assert steps(sim.do(Verb.DRAIN, 1)[1]) == [("drain", 0.0005)]
    assert steps(sim.do(Verb.PARK, 1)[1]) == [("shut", 0.0012), ("stop", 0.75)]
    assert steps(sim.do(Verb.REMOVE, 1)[1]) == [("shut", 0.0012), ("delete", 0.026)]


def test_a_warm_clone_serves_sooner_than_a_stopped_one_and_that_one_sooner_than_none():
    sim = simulated(serving=0, frozen=1, stopped=1)
    assert sim.phases() == {1: Phase.WARM, 2: Phase.STOPPED, 3: Phase.EMPTY}
    took_s = [sim.do(Verb.SERVE, slot)[slot].took_s for slot in (1, 2, 3)]
    assert took_s == pytest.approx([0.0185, 0.452, 0.612], abs=0.001)


def test_phases_are_seen_while_an_action_is_under_way():
    sim = simulated()
    sim.begin(Verb.SERVE, 1)
    seen = {}
    while sim.observe().slots[0].phase is not Phase.SERVING:
        slot = sim.pass_s(0.0005).slots[0]
        seen.setdefault(slot.phase, (round(sim.now_s, 3), slot.doing))
    assert list(seen) == [
        Phase.EMPTY,
        Phase.STOPPED,
        Phase.BOOTING,
        Phase.JOINING,
        Phase.SERVING,
    ]
    assert seen[Phase.STOPPED] == (0.16, Verb.SERVE)
    assert seen[Phase.SERVING][1] is None


def test_several_at_once_slow_each_other_down():
    alone = simulated().do(Verb.SERVE, 1)[1].took_s
    together = simulated(replace(EXACT, slots=4)).do(Verb.SERVE, 1, 2, 3, 4)
    # 0.20 s for one start, 0.33 s for each of four: platform measurements on two cores.
    assert dict(together[1].steps)["start"] == pytest.approx(0.33, abs=0.01)
    assert max(outcome.took_s for outcome in together.values()) > 1.4 * alone


def test_now_and_then_a_step_takes_a_second_more():
    sim = simulated(replace(EXACT, slots=1, outlier_share=0.1))
    starts_s = []
    for _ in range(100):
        starts_s.append(dict(sim.do(Verb.SERVE, 1)[1].steps)["start"])
        sim.do(Verb.DRAIN, 1)
        sim.do(Verb.REMOVE, 1)
    slow = [start_s for start_s in starts_s if start_s > 1]
    assert 3 <= len(slow) <= 20
    assert slow[0] == pytest.approx(1.2)


def test_a_join_is_called_off_between_two_steps():
    sim = simulated()
    sim.begin(Verb.SERVE, 1)
    sim.pass_s(0.05)
    sim.begin(Verb.PARK, 1)
    sim.wait(lambda seen: seen.slots[0].doing is None)
    served, parked = sim.world.outcomes()
    assert (served.error, [step for step, _ in served.steps]) == ("called off", ["create"])
    assert (parked.error, [step for step, _ in parked.steps]) == ("", ["shut"])
    assert sim.phases()[1] is Phase.STOPPED
    assert sim.observe().slots[0].fault == ""


def test_a_join_is_called_off_while_it_waits_for_the_application():
    sim = simulated()
    sim.begin(Verb.SERVE, 1)
    sim.pass_s(0.5)
    assert sim.phases()[1] is Phase.BOOTING
    sim.begin(Verb.PARK, 1)
    sim.wait(lambda seen: seen.slots[0].doing is None)
    served, parked = sim.world.outcomes()
    assert served.error == "called off"
    assert served.took_s == pytest.approx(0.5)
    assert [step for step, _ in parked.steps] == ["shut", "stop"]
    assert sim.phases()[1] is Phase.STOPPED


def test_a_call_off_that_comes_too_late_changes_nothing():
    sim = simulated(serving=1)
    parked = sim.do(Verb.PARK, 1)[1]
    assert parked.error == "called off"
    assert sim.phases()[1] is Phase.SERVING
    assert sim.observe().slots[0].fault == ""


def test_actions_beyond_the_scalers_threads_wait():
    sim = simulated(replace(EXACT, slots=3, parallel=1, contention=0.0))
    outcomes = sim.do(Verb.SERVE, 1, 2, 3)
    assert max(outcome.took_s for outcome in outcomes.values()) < 0.62
    assert sim.now_s > 3 * 0.61


def test_a_clone_that_never_listens_is_given_up_at_the_deadline_and_broken():
    sim = simulated()
    sim.plant.inject(SlowBoot(0.0, 1.0))
    outcome = sim.do(Verb.SERVE, 1)[1]
    assert outcome.error == "did not answer within 20 s"
    assert outcome.took_s == pytest.approx(20.0, abs=0.01)
    slot = sim.observe().slots[0]
    assert (slot.phase, slot.fault) == (Phase.BROKEN, outcome.error)
    assert not sim.do(Verb.REMOVE, 1)[1].error
    assert not sim.do(Verb.SERVE, 1)[1].error


def test_a_slow_boot_takes_longer():
    sim = simulated()
    sim.plant.inject(SlowBoot(0.0, 1.0, extra_s=3.0, slot=1))
    took_s = {slot: outcome.took_s for slot, outcome in sim.do(Verb.SERVE, 1, 2).items()}
    assert took_s[1] - took_s[2] == pytest.approx(3.0, abs=0.01)


def test_a_slot_whose_clone_cannot_be_made_is_left_alone_for_a_while():
    sim = simulated()
    sim.plant.inject(ActionFails(0.0, 1.0, "create", "the storage pool is full"))
    outcome = sim.do(Verb.SERVE, 1)[1]
    assert outcome.error == "the storage pool is full"
    assert outcome.steps[0][1] == pytest.approx(0.16, abs=0.001)
    seen = sim.pass_s(4.9).slots[0]
    assert (seen.phase, seen.fault) == (Phase.EMPTY, "the storage pool is full")
    assert sim.pass_s(0.2).slots[0].fault == ""
    assert not sim.do(Verb.SERVE, 1)[1].error


def test_a_stop_that_fails_leaves_a_broken_slot():
    sim = simulated(serving=2)
    sim.do(Verb.DRAIN, 1)
    sim.plant.inject(ActionFails(0.0, 10.0, "stop", verb=Verb.PARK, slot=1))
    assert sim.do(Verb.PARK, 1)[1].error == "LXD: refused"
    assert sim.observe().slots[0].phase is Phase.BROKEN
    assert not sim.do(Verb.REMOVE, 1)[1].error
    assert sim.phases()[1] is Phase.EMPTY


def test_a_clone_that_dies_is_seen_when_lxd_is_asked_for_the_next_time():
    sim = simulated(serving=2)
    sim.plant.inject(Dies(2.3))
    assert sim.pass_s(2.9).slots[0].phase is Phase.SERVING
    slot = sim.pass_s(0.2).slots[0]
    assert (slot.phase, slot.fault) == (Phase.BROKEN, "container stopped, server down")


def test_a_clone_that_dies_while_it_boots_is_given_up():
    sim = simulated()
    sim.begin(Verb.SERVE, 1)
    sim.pass_s(0.5)
    sim.plant.inject(Dies(0.5, slot=1))
    sim.wait(lambda seen: seen.slots[0].doing is None, patience_s=30)
    assert sim.world.outcomes()[0].error == "did not answer within 20 s"


def test_a_clone_that_hangs_is_broken_once_its_checks_have_failed_for_long():
    sim = simulated(serving=1)
    sim.plant.inject(Hangs(1.0))
    assert sim.pass_s(3.0).slots[0].phase is Phase.SERVING
    slot = sim.pass_s(2.0).slots[0]
    assert (slot.phase, slot.fault) == (Phase.BROKEN, "failed its health checks for 3 s")


def test_a_clone_that_recovers_serves_again():
    sim = simulated(serving=1)
    sim.plant.inject(Hangs(1.0, for_s=2.0))
    sim.pass_s(2.5)
    assert sim.clients.send(1, 0.1) == [0]
    assert sim.clients.statuses == {0: 503}
    sim.pass_s(1.0)
    sim.clients.send(1, 0.1)
    sim.pass_s(0.2)
    assert sim.clients.statuses[1] == 200


@pytest.mark.parametrize(("what", "who"), [("haproxy", "HAProxy"), ("lxd", "LXD")])
def test_what_cannot_be_observed_is_unknown_and_not_empty(what, who):
    sim = simulated(serving=2)
    before = sim.pass_s(0.5)
    sim.plant.inject(Missing(1.0, 2.0, what))
    seen = sim.pass_s(1.0)
    assert seen.unknown == f"{who} does not answer"
    assert seen.metrics.in_flight is None
    assert seen.slots == before.slots
    assert sim.do(Verb.SERVE, 3)[3].error == f"{who} does not answer"
    sim.pass_s(8.0)
    assert not sim.observe().unknown


def test_metrics_can_be_missing_while_slots_are_known():
    sim = simulated(serving=1)
    sim.plant.inject(Missing(1.0, 1.0, "metrics"))
    sim.plant.inject(Missing(3.0, 1.0, "log"))
    sim.clients.send(2, 0.5)
    assert sim.pass_s(0.8).metrics.p95_ms == 500
    nothing = sim.pass_s(0.5)
    assert (nothing.unknown, nothing.metrics.in_flight, nothing.serving) == ("", None, 1)
    no_log = sim.pass_s(2.0).metrics
    assert (no_log.in_flight, no_log.p95_ms, no_log.total_ms) == (0, None, None)
    assert sim.pass_s(1.0).metrics.p95_ms == 500


def test_a_new_scaler_finds_what_the_last_one_left():
    sim = simulated(serving=2)
    sim.do(Verb.DRAIN, 2)
    sim.begin(Verb.SERVE, 3)
    sim.pass_s(0.2)
    sim.world.close()
    sim.world = type(sim.world)(sim.plant)
    assert sim.phases() == {1: Phase.SERVING, 2: Phase.DRAINING, 3: Phase.BOOTING}
    assert sim.observe().slots[2].doing is None
