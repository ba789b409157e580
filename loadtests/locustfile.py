"""The lab's users for Locust. What they do stands in a scenario file, not here.

    lab load demo                                                        # run by the lab
    locust -f loadtests/locustfile.py --host http://127.0.0.1:8080       # Locust's own page

LAB_SCENARIO names the scenario (a name or a path; `demo` without it). `lab load` also sets
LAB_LOAD_RECORD, the file that the counts go to.
"""

# Locust's event decorators have no types.
# mypy: disable-error-code="untyped-decorator, no-untyped-call"

from __future__ import annotations

import os
import signal
import sys
import time
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from locust import FastHttpUser, LoadTestShape, events, task

# A plain `locust` in a checkout that was not installed finds the lab's package as well.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from lab.errors import LabError
from lab.load.recorder import Recorder
from lab.load.scenario import load_scenario

SPAWN_RATE = 100.0
"""Users a second: the shape's number is reached within the second between two of its ticks."""
IN_FLIGHT_S = 60.0
"""A user that is to stop finishes the request it has sent, and is not cut off in it."""

try:
    scenario = load_scenario(os.environ.get("LAB_SCENARIO", "demo"))
    scenario.require_users()
except LabError as error:
    sys.exit(f"locustfile: {error}")

record_path = os.environ.get("LAB_LOAD_RECORD")
recorder = Recorder(Path(record_path) if record_path else None)
numbers = count()


class LabUser(FastHttpUser):
    """Sends one request after the other: a closed loop, so a slow service gets fewer requests."""

    host = "http://127.0.0.1:8080"

    def on_start(self) -> None:
        # Each user's own sequence, so that it does not depend on who is answered first.
        self.random = Random(f"{scenario.requests.seed}-{next(numbers)}")

    def wait_time(self) -> float:
        return scenario.requests.think_s

    @task
    def send_request(self) -> None:
        mix = scenario.requests.mix
        (request,) = self.random.choices(mix, [request.weight for request in mix])
        # One line of statistics a page, whatever its query. Status 400 and above is a failure.
        self.client.get(request.path, name=request.path.partition("?")[0])


class ScenarioShape(LoadTestShape):
    """The scenario's load shape, second by second."""

    def tick(self) -> tuple[int, float] | None:
        at_s = self.get_run_time()
        if at_s >= scenario.duration_s:
            return None
        return scenario.users_at(at_s), SPAWN_RATE


@events.init.add_listener
def let_requests_finish(environment: Any, **_: Any) -> None:
    environment.stop_timeout = environment.stop_timeout or IN_FLIGHT_S
    # Locust takes SIGTERM for a request to finish only once its load shape has ended; before that
    # it would die of it, with requests in flight and nothing recorded. It heeds Ctrl-C always.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@events.test_start.add_listener
def begin(**_: Any) -> None:
    recorder.begin(time.time())


@events.request.add_listener
def count_request(response_time: float, response: Any, exception: Any, **_: Any) -> None:
    failure = None
    if exception:
        status = getattr(response, "status_code", 0)
        failure = f"HTTP {status}" if status >= 400 else type(exception).__name__
    recorder.count(response_time, failure)


@events.user_error.add_listener
def count_error(exception: BaseException, **_: Any) -> None:
    """An exception that Locust does not take for a failed request is one all the same."""
    recorder.count(0.0, type(exception).__name__)


@events.test_stop.add_listener
def end(**_: Any) -> None:
    recorder.end(time.time())
