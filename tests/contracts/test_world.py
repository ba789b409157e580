"""What every world must do, whatever its slots are made of."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from lab.core.model import Action, Phase, Verb
from lab.core.phases import Container


def test_slots_are_empty_at_first_and_nobody_serves(stage):
    assert set(stage.phases().values()) == {Phase.EMPTY}
    status, _, body = stage.get()
    assert status == 503
    assert "No server is free" in body


def test_serve_brings_an_empty_slot_to_answering(stage):
    outcome = stage.do(Verb.SERVE, 2)[2]
    assert not outcome.error
    assert [step for step, _ in outcome.steps] == ["create", "start", "ready", "join"]
    assert stage.phases() == {1: Phase.EMPTY, 2: Phase.SERVING, 3: Phase.EMPTY}
    status, server, body = stage.get()
    assert (status, server) == (200, "web-2")
    assert "Hello from web-2!" in body


def test_serving_in_parallel_serves_all(stage):
    outcomes = stage.do(Verb.SERVE, 1, 2, 3)
    assert not any(outcome.error for outcome in outcomes.values())
    assert {stage.get()[1] for _ in range(12)} == {"web-1", "web-2", "web-3"}


def test_no_request_fails_while_servers_join(stage):
    stage.do(Verb.SERVE, 1)
    stopping = threading.Event()

    def client():
        statuses = []
        while not stopping.is_set():
            statuses.append(stage.get()[0])
        return statuses

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client) for _ in range(4)]
        stage.do(Verb.SERVE, 2, 3)
        time.sleep(0.5)
        stage.do(Verb.DRAIN, 1, 2)
        stage.wait(lambda seen: all(slot.sessions == 0 for slot in seen.slots[:2]))
        stage.do(Verb.PARK, 1, 2)
        stopping.set()
        statuses = [status for client in clients for status in client.result()]
    assert len(statuses) > 50
    assert set(statuses) == {200}
    assert stage.phases() == {1: Phase.STOPPED, 2: Phase.STOPPED, 3: Phase.SERVING}


def test_draining_finishes_what_is_in_flight_and_takes_nothing_new(stage):
    stage.do(Verb.SERVE, 1, 2)
    with ThreadPoolExecutor(8) as pool:
        slow = [pool.submit(stage.get, "/work?ms=1500") for _ in range(8)]
        stage.wait(lambda seen: seen.metrics.in_flight == 8)
        stage.do(Verb.DRAIN, 1)
        assert stage.phases()[1] is Phase.DRAINING
        assert {stage.get()[1] for _ in range(3)} == {"web-2"}
        assert {answer.result()[0] for answer in slow} == {200}
    drained = stage.wait(lambda seen: seen.slots[0].sessions == 0)
    assert drained.slots[0].phase is Phase.DRAINING


def test_a_draining_server_can_be_taken_back(stage):
    stage.do(Verb.SERVE, 1)
    stage.do(Verb.DRAIN, 1)
    outcome = stage.do(Verb.SERVE, 1)[1]
    assert [step for step, _ in outcome.steps] == ["ready", "join"]
    assert stage.get()[:2] == (200, "web-1")


def test_parking_past_the_deadline_cuts_and_counts(stage):
    stage.do(Verb.SERVE, 1)
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(stage.get, "/work?ms=4000") for _ in range(2)]
        stage.wait(lambda seen: seen.metrics.in_flight == 2)
        stage.do(Verb.DRAIN, 1)
        outcome = stage.do(Verb.PARK, 1)[1]
        assert outcome.steps[0][0] == "shut, 2 requests cut"
        for answer in slow:
            assert answer.exception() is not None or answer.result()[0] >= 500


def test_a_parked_slot_serves_again(stage):
    stage.do(Verb.SERVE, 1)
    stage.do(Verb.DRAIN, 1)
    stage.do(Verb.PARK, 1)
    assert stage.phases()[1] is Phase.STOPPED
    outcome = stage.do(Verb.SERVE, 1)[1]
    assert [step for step, _ in outcome.steps] == ["start", "ready", "join"]
    assert stage.get()[0] == 200


def test_remove_leaves_the_slot_empty(stage):
    stage.do(Verb.SERVE, 1)
    stage.do(Verb.DRAIN, 1)
    assert not stage.do(Verb.REMOVE, 1)[1].error
    assert stage.phases()[1] is Phase.EMPTY


def test_a_server_that_dies_is_broken_and_can_be_replaced(stage):
    stage.do(Verb.SERVE, 1, 2)
    stage.fleet.stop(1, 10)
    seen = stage.wait(lambda seen: seen.slots[0].phase is Phase.BROKEN)
    assert "stopped" in seen.slots[0].fault
    assert {stage.get()[:2] for _ in range(6)} == {(200, "web-2")}
    stage.do(Verb.REMOVE, 1)
    assert not stage.do(Verb.SERVE, 1)[1].error
    assert {stage.get()[1] for _ in range(6)} == {"web-1", "web-2"}


def test_a_join_can_be_called_off(stage):
    stage.world.apply((Action(Verb.SERVE, 1, "test"),))
    time.sleep(0.01)
    stage.world.apply((Action(Verb.PARK, 1, "test"),))
    stage.wait(lambda seen: all(slot.doing is None for slot in seen.slots))
    assert stage.phases()[1] in (Phase.STOPPED, Phase.EMPTY, Phase.SERVING)


def test_a_new_scaler_finds_what_the_last_one_left(stage):
    stage.do(Verb.SERVE, 1, 2)
    stage.do(Verb.DRAIN, 2)
    stage.fleet.create(3, 10)
    stage.fleet.start(3, 10)
    stage.world.close()
    stage.world = stage.reopen()
    assert stage.phases() == {1: Phase.SERVING, 2: Phase.DRAINING, 3: Phase.BOOTING}


def test_metrics_count_requests_and_times(stage):
    stage.do(Verb.SERVE, 1)
    with ThreadPoolExecutor(6) as pool:
        slow = [pool.submit(stage.get, "/work?ms=1000") for _ in range(6)]
        seen = stage.wait(lambda seen: seen.metrics.queued == 2)
        assert seen.metrics.in_flight == 4
        assert {answer.result()[0] for answer in slow} == {200}
    metrics = stage.wait(lambda seen: seen.metrics.p95_ms is not None).metrics
    assert 900 < metrics.p50_ms < 1800
    assert metrics.p95_ms >= metrics.p50_ms
    time.sleep(0.3)
    assert stage.observe().metrics.in_flight == 0


def test_a_silent_balancer_is_unknown_and_not_empty(stage):
    stage.do(Verb.SERVE, 1)
    assert stage.phases()[1] is Phase.SERVING
    stage.haproxy.stop()
    seen = stage.observe()
    assert "HAProxy does not answer" in seen.unknown
    assert seen.metrics.in_flight is None
    assert seen.slots[0].phase is Phase.SERVING
    stage.haproxy.start()
    seen = stage.wait(lambda seen: not seen.unknown)
    assert seen.slots[0].phase is Phase.BOOTING
    assert stage.fleet.containers()[1] is Container.RUNNING


def test_a_reload_keeps_every_state(stage):
    stage.do(Verb.SERVE, 1, 2)
    stage.do(Verb.DRAIN, 2)
    stage.haproxy.reload()
    assert stage.phases() == {1: Phase.SERVING, 2: Phase.DRAINING, 3: Phase.EMPTY}
    assert stage.get()[:2] == (200, "web-1")


def test_the_use_of_cpu_and_memory_is_measured_where_something_runs(stage):
    stage.do(Verb.SERVE, 1)
    with ThreadPoolExecutor(1) as pool:
        burning = pool.submit(stage.get, "/cpu?ms=1500")
        seen = stage.wait(lambda seen: (seen.slots[0].cpus or 0) > 0.2)
        assert seen.slots[0].memory_bytes > 1_000_000
        assert (seen.slots[1].cpus, seen.slots[1].memory_bytes) == (None, None)
        assert burning.result()[0] == 200
