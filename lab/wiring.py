"""The one place where real parts are put together."""

from __future__ import annotations

import functools
import grp
import logging
import signal
import time

from lab import grounds, loop, scaler, trace
from lab.balancer.config import BalancerConfig, stats_password, unprivileged_user
from lab.balancer.haproxy import HAProxyBalancer
from lab.balancer.requestlog import RequestLog
from lab.balancer.runtime import RuntimeSocket
from lab.core.decide import Brain
from lab.core.guards import Limits
from lab.core.guards import build as build_guards
from lab.core.policies.base import Policy
from lab.deployment import Deployment
from lab.loop import Tick
from lab.operator import OperatorFile
from lab.settings import Settings
from lab.worlds.base import Fleet
from lab.worlds.live import Deadlines, LiveWorld, ServerLimits

LOG_WINDOW_S = 5.0
SAY_AGAIN_S = 60.0


def balancer_config(settings: Settings) -> BalancerConfig:
    user, group = unprivileged_user()
    return BalancerConfig(
        directory=settings.directory,
        bind=settings.balancer.bind,
        port=settings.balancer.port,
        stats_port=settings.balancer.stats_port,
        stats_password=stats_password(settings.directory),
        servers=grounds.of(settings).servers(settings),
        server_maxconn=settings.server.workers,
        check_interval_ms=settings.balancer.check_interval_ms,
        queue_timeout_ms=round(settings.balancer.queue_timeout_s * 1000),
        server_timeout_ms=round(settings.balancer.server_timeout_s * 1000),
        user=user,
        group=group,
    )


def balancer(settings: Settings) -> HAProxyBalancer:
    """The balancer of the scaler's own: it alone may receive the log."""
    _, group = unprivileged_user()
    group_id = grp.getgrnam(group).gr_gid if group else None
    log = RequestLog(settings.directory / "log.sock", LOG_WINDOW_S, group_id)
    return HAProxyBalancer(RuntimeSocket(settings.directory / "haproxy.sock"), log)


def world(deployment: Deployment, fleet: Fleet | None = None) -> LiveWorld:
    settings = deployment.settings
    deadlines = Deadlines(settings.scaler.boot_deadline_s, settings.scaler.unhealthy_deadline_s)
    limits = ServerLimits(settings.server.cpus, settings.server.memory_bytes)
    fleet = fleet or grounds.of(settings).fleet(deployment)
    return LiveWorld(
        settings.lab.world, fleet, balancer(settings), settings.pool.max, deadlines, limits
    )


def brain(settings: Settings, steer: str = "") -> Brain:
    """What decides: the policy `steer`, or else the one in the settings, and the shadows."""
    name = steer or settings.policy.steer
    shadows = dict.fromkeys((*settings.policy.shadow, settings.policy.steer))
    return Brain(
        policy(settings, name),
        build_guards(settings.guards),
        Limits(settings.pool.min, settings.pool.max),
        settings.scaler.drain_deadline_s,
        tuple(policy(settings, shadow) for shadow in shadows if shadow != name),
    )


def policy(settings: Settings, name: str = "") -> Policy:
    """The policy of that name, or else the one that steers."""
    chosen: Policy = settings.policy.built(name or settings.policy.steer)
    return chosen


def run_scaler(deployment: Deployment, echo: bool) -> None:
    """Run the scaler in this process until SIGTERM or SIGINT."""
    settings = deployment.settings
    directory = settings.directory
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True

    with scaler.only_one(directory):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        log = scaler.decision_log(directory, echo)
        recorder = Recorder(trace.TraceWriter(directory / "trace.jsonl"), log)
        log.info("the scaler begins: %s", settings.policy.steer)
        live = world(deployment)
        brain_for = functools.cache(functools.partial(brain, settings))
        try:
            loop.run(
                live,
                lambda operator: brain_for(operator.policy),
                settings.scaler.interval_s,
                OperatorFile(directory).now,
                recorder.record,
                lambda: stopping,
            )
        finally:
            live.close()
            recorder.close()
            log.info("the scaler ends; HAProxy and the servers go on")


class Recorder:
    """Writes every tick to the trace, and to the log those in which something changed."""

    def __init__(self, writer: trace.TraceWriter, log: logging.Logger) -> None:
        self._writer = writer
        self._log = log
        self._said: tuple[object, ...] = ()
        self._said_s = 0.0

    def record(self, tick: Tick) -> None:
        decision = tick.decision
        self._writer.write(
            trace.to_line(
                tick.number,
                tick.at,
                tick.policy,
                tick.observation,
                decision,
                tick.outcomes,
                tick.took_ms,
            )
        )
        for outcome in tick.outcomes:
            ended = f"failed: {outcome.error}" if outcome.error else "done"
            steps = ", ".join(f"{step} {took_s * 1000:.0f} ms" for step, took_s in outcome.steps)
            self._log.info("%s %s (%s)", outcome.action, ended, steps)
        matter = (decision.wanted, decision.actions, tick.observation.unknown)
        due = time.monotonic() - self._said_s > SAY_AGAIN_S
        if matter != self._said or decision.actions or due:
            self._log.info("%s", decision.sentence)
            self._said, self._said_s = matter, time.monotonic()

    def close(self) -> None:
        self._writer.close()
