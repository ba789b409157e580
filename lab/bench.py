"""How fast the lab is, measured on the spot and beside its floor: the same LXD calls made raw."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab import grounds, scaler, trace, wiring
from lab.core.model import Action, Operator, Phase, Verb
from lab.deployment import Deployment
from lab.errors import LabError
from lab.progress import Progress
from lab.worlds.base import Fleet
from lab.worlds.live import LiveWorld

SLOT = 1
POLL_S = 0.002
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Row:
    """One measurement: seconds, ours and the floor's, round by round."""

    name: str
    ours_s: tuple[float, ...]
    floor_s: tuple[float, ...]

    def report(self) -> dict[str, Any]:
        """Medians, and the ratio of the medians."""
        ours, floor = statistics.median(self.ours_s), statistics.median(self.floor_s)
        return {
            "name": self.name,
            "rounds": len(self.ours_s),
            "ours_s": round(ours, 4),
            "floor_s": round(floor, 4),
            "ratio": round(ours / floor, 3),
        }


def run(found: Deployment, rounds: int, progress: Progress) -> list[dict[str, Any]]:
    """Measure the time from a decision to the first answer through HAProxy.

    The lab must be up. Its scaler is stopped for as long as this takes, and started again.
    """
    settings = found.settings
    scaler.stop(settings.directory)
    fleet = grounds.of(settings).fleet(found)
    world = wiring.world(found, fleet)
    try:
        stage = _Stage(world, fleet, found)
        rows = [
            _paired("stopped to first answer", stage, Phase.STOPPED, rounds, progress),
            _paired("empty to first answer", stage, Phase.EMPTY, rounds, progress),
        ]
    finally:
        world.close()
        scaler.start(settings)
    return [row.report() for row in rows]


def tick_ms(found: Deployment) -> float | None:
    """The median time of the scaler's newest ticks in milliseconds."""
    lines = trace.newest_lines(found.settings.directory / "trace.jsonl", 200)
    return statistics.median(line["tick_ms"] for line in lines) if lines else None


def _paired(name: str, stage: _Stage, phase: Phase, rounds: int, progress: Progress) -> Row:
    ours, floor = [], []
    for number in range(1, rounds + 1):
        progress(f"{name}, round {number} of {rounds}")
        stage.go_to(phase)
        ours.append(_timed(stage.serve))
        stage.go_to(phase)
        floor.append(_timed(lambda: stage.serve_raw(phase)))
    return Row(name, tuple(ours), tuple(floor))


def _timed(work: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


class _Stage:
    """One slot, and nothing else that serves."""

    def __init__(self, world: LiveWorld, fleet: Fleet, found: Deployment) -> None:
        self._world = world
        self._fleet = fleet
        balancer = found.settings.balancer
        self._service = (found.service_url.split("//")[1].split(":")[0], balancer.port)
        server = grounds.of(found.settings).servers(found.settings)[SLOT - 1]
        self._direct = (server.address, server.port)
        for slot in range(1, found.settings.pool.max + 1):
            self._leave(slot)

    def go_to(self, phase: Phase) -> None:
        self._leave(SLOT)
        if phase is Phase.EMPTY:
            self._do(Verb.REMOVE, SLOT)
        elif self._phase(SLOT) is Phase.EMPTY:
            self.serve()
            self._leave(SLOT)

    def serve(self) -> None:
        """As the scaler does it, until a request through HAProxy is answered."""
        self._world.apply((Action(Verb.SERVE, SLOT, "bench"),))
        _answered(self._service, "/")
        self._outcome(SLOT)

    def serve_raw(self, phase: Phase) -> None:
        """The same LXD calls, and a request straight to the container."""
        if phase is Phase.EMPTY:
            self._fleet.create(SLOT, PATIENCE_S)
        self._fleet.start(SLOT, PATIENCE_S)
        _answered(self._direct, "/")

    def _leave(self, slot: int) -> None:
        phase = self._phase(slot)
        if phase is Phase.SERVING:
            self._do(Verb.DRAIN, slot)
        if phase not in (Phase.EMPTY, Phase.STOPPED):
            self._do(Verb.PARK, slot)

    def _phase(self, slot: int) -> Phase:
        return self._world.observe(Operator()).slots[slot - 1].phase

    def _do(self, verb: Verb, slot: int) -> None:
        self._world.apply((Action(verb, slot, "bench"),))
        self._outcome(slot)

    def _outcome(self, slot: int) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            for outcome in self._world.outcomes():
                if outcome.error:
                    raise LabError(f"{outcome.action}: {outcome.error}")
                if outcome.action.slot == slot:
                    return
            time.sleep(POLL_S)
        raise LabError(f"slot {slot} did not get there within {PATIENCE_S:g} s")


def _answered(address: tuple[str, int], path: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        connection = http.client.HTTPConnection(*address, timeout=1)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(POLL_S)
    raise LabError(f"no answer from {address[0]}:{address[1]} within {PATIENCE_S:g} s")
