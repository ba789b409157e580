"""What must hold whatever is done to a simulated lab, and whatever happens in it."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.core.model import Action, Operator, Phase, Slot, Verb
from lab.core.phases import ALLOWED, Container, Gate
from lab.worlds.base import ServerState
from lab.worlds.live import Fault, LiveWorld
from lab.worlds.sim.drafts import make_slot
from lab.worlds.sim.faults import ActionFails, Dies, Hangs, Missing, SlowBoot
from lab.worlds.sim.jobs import Blame
from lab.worlds.sim.world import SimWorld
from support.simulated import EXACT, poisson_arrivals, queue_of, simulated

SLOTS = 4
VARYING = replace(
    EXACT, slots=SLOTS, workers=2, spread=0.3, outlier_share=0.05, queue_timeout_s=2.0
)

moments = st.floats(0, 25, allow_nan=False)
slots = st.integers(1, SLOTS)
faults = st.one_of(
    st.builds(Dies, moments, slots),
    st.builds(Hangs, moments, st.floats(0.1, 10), slots),
    st.builds(SlowBoot, moments, st.floats(0, 5), st.floats(0, 30)),
    st.builds(ActionFails, moments, st.floats(0, 3), st.sampled_from(["create", "start", "join"])),
    st.builds(Missing, moments, st.floats(0, 3), st.sampled_from(["haproxy", "lxd", "metrics"])),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(faults, max_size=4),
    st.lists(st.tuples(st.integers(0, 100), st.sampled_from(list(Verb)), slots), max_size=40),
    st.integers(0, SLOTS),
    st.integers(0, 1000),
)
def test_no_request_is_lost_or_counted_twice(happening, asked, serving, seed):
    plant = queue_of(VARYING, poisson_arrivals(30.0, 20.0, f"{seed}"), "/work?ms=80", serving)
    for fault in happening:
        plant.inject(fault)
    world, balancer = SimWorld(plant), plant.balancer
    for tick in range(120):
        seen = world.observe(Operator())
        assert all(0 <= slot.sessions <= VARYING.workers for slot in seen.slots)
        in_system = balancer.in_flight + balancer.queued + balancer.waiting_to_retry
        assert balancer.arrived == balancer.answered + balancer.failed + in_system
        assert sum(balancer.sessions()) == balancer.in_flight
        if not seen.unknown:
            # As the planner has it: nothing is asked that a phase forbids.
            world.apply(
                tuple(
                    Action(verb, slot, "test")
                    for at, verb, slot in asked
                    if at == tick and verb in ALLOWED[seen.slots[slot - 1].phase]
                )
            )
        world.sleep_until((tick + 1) * 0.25)
    world.sleep_until(90)
    assert balancer.arrived == balancer.answered + balancer.failed
    assert sum(balancer.requests_by_ms().values()) == balancer.arrived
    assert not balancer.in_flight and not any(balancer.sessions())
    assert all(slot.doing is None for slot in world.observe(Operator()).slots)


def test_a_draft_is_a_slot_with_all_of_its_fields():
    assert make_slot(3, Phase.SERVING, 1.5, 2, Verb.DRAIN, "why", 0.25, 9.0) == Slot(
        3, Phase.SERVING, 1.5, 2, 0, Verb.DRAIN, "why", cpus=0.25, up_s=9.0
    )
    plain = make_slot(1, Phase.EMPTY, 0.0, 0, None, "", None, None)
    assert type(plain) is Slot
    assert plain == Slot(1, Phase.EMPTY)
    assert all(hasattr(plain, field.name) for field in fields(Slot))


BLAMES = (None, ("refused", 0.0), ("refused", 8.0))
JOBS = (None, (Verb.SERVE, "start"), (Verb.SERVE, "join"), (Verb.PARK, "stop"))


@pytest.mark.parametrize(
    ("container", "gate", "blame", "job", "changed_s"),
    list(product(Container, Gate, BLAMES, JOBS, (9.5, 2.0))),
)
def test_phases_and_faults_are_those_of_the_live_world(container, gate, blame, job, changed_s):
    now_s = 10.0
    deadlines = SimpleNamespace(unhealthy_s=EXACT.unhealthy_deadline_s)
    state = ServerState(gate, 0, 0, int(now_s - changed_s))
    fault = blame and Fault(*blame)
    stand_in = job and SimpleNamespace(action=Action(job[0], 1, ""), step=job[1])
    live = LiveWorld._judge(
        SimpleNamespace(_deadlines=deadlines), container, state, stand_in, fault, now_s
    )

    sim = simulated()
    sim.plant.containers.known[1] = container
    sim.plant.balancer._admin[1] = Gate.OPEN if gate is Gate.DOWN else gate
    sim.plant.balancer._up[1] = gate is not Gate.DOWN
    sim.plant.balancer.changed_s[1] = changed_s
    jobs = sim.world._jobs
    jobs.under_way |= {1: stand_in} if stand_in else {}
    jobs.blamed |= {1: Blame(*blame)} if blame else {}
    phase, fault, _ = sim.world._judge(1, now_s)

    assert (phase, fault) == live
