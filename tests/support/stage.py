"""A world under test, and what a test needs to look behind it."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.assets import asset
from lab.balancer.config import BalancerConfig, Server, install, render
from lab.balancer.haproxy import HAProxyBalancer
from lab.balancer.process import HAProxyProcess
from lab.balancer.requestlog import RequestLog
from lab.balancer.runtime import RuntimeSocket
from lab.core.model import Action, Observation, Operator, Outcome, Phase, Verb
from lab.worlds.base import Fleet
from lab.worlds.live import Deadlines, LiveWorld
from lab.worlds.process import ProcessFleet

SLOTS = 3
DEADLINES = Deadlines(boot_s=20, unhealthy_s=2)


@dataclass
class Stage:
    world: LiveWorld
    fleet: Fleet
    address: tuple[str, int]
    haproxy: HAProxyProcess
    reopen: Callable[[], LiveWorld]

    def observe(self) -> Observation:
        return self.world.observe(Operator())

    def phases(self) -> dict[int, Phase]:
        return {slot.number: slot.phase for slot in self.observe().slots}

    def do(self, verb: Verb, *slots: int, patience_s: float = 30) -> dict[int, Outcome]:
        """Apply and wait for the outcomes, which must be good ones."""
        self.world.apply(tuple(Action(verb, slot, "test") for slot in slots))
        done: dict[int, Outcome] = {}
        until = time.monotonic() + patience_s
        while set(done) != set(slots):
            assert time.monotonic() < until, f"{verb} {set(slots) - set(done)} did not end"
            done |= {outcome.action.slot: outcome for outcome in self.world.outcomes()}
            time.sleep(0.005)
        assert not any(outcome.error for outcome in done.values()), done
        return done

    def wait(self, ready: Callable[[Observation], bool], patience_s: float = 20) -> Observation:
        until = time.monotonic() + patience_s
        while not ready(seen := self.observe()):
            assert time.monotonic() < until, f"never so: {seen}"
            time.sleep(0.02)
        return seen

    def get(self, path: str = "/", timeout_s: float = 20) -> tuple[int, str | None, str]:
        """Status, the server that answered, and the body, through HAProxy."""
        return get(self.address, path, timeout_s)


def get(
    address: tuple[str, int], path: str = "/", timeout_s: float = 20
) -> tuple[int, str | None, str]:
    connection = http.client.HTTPConnection(*address, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("X-Served-By"), answer.read().decode()
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def free_range(count: int) -> int:
    """The first of `count` consecutive free ports."""
    for first in range(23_000, 30_000, count):
        try:
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


@contextmanager
def process_stage(directory: Path) -> Iterator[Stage]:
    """Real HAProxy over local processes."""
    share = directory / "share"
    share.mkdir()
    (share / "index.html").write_text("<p>shared</p>")
    port, stats_port = free_ports(2)
    first = free_range(SLOTS + 1)
    servers = tuple(
        Server(f"web-{slot}", "127.0.0.1", first + slot) for slot in range(1, SLOTS + 1)
    )
    config = BalancerConfig(
        directory, "127.0.0.1", port, stats_port, "secret", servers, 4, 100, 5000, 5000
    )
    install(config, render(config, asset("haproxy") / "haproxy.cfg.j2"))
    haproxy = HAProxyProcess(directory)
    haproxy.start()
    application = asset("containers") / "app" / "app.py"
    fleet = ProcessFleet(directory, application, share, SLOTS, 4, first)

    def open_world() -> LiveWorld:
        log = RequestLog(directory / "log.sock", 5.0)
        balancer = HAProxyBalancer(RuntimeSocket(directory / "haproxy.sock"), log)
        return LiveWorld("process", fleet, balancer, SLOTS, DEADLINES)

    with played(Stage(open_world(), fleet, ("127.0.0.1", port), haproxy, open_world)) as stage:
        yield stage


@contextmanager
def played(stage: Stage) -> Iterator[Stage]:
    """The stage, taken down at the end."""
    try:
        yield stage
    finally:
        stage.world.close()
        stage.haproxy.stop()
        for slot in range(1, SLOTS + 1):
            stage.fleet.delete(slot, 30)
