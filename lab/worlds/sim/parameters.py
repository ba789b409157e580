"""Everything that the simulator takes for given, with its unit and where the number is from.

All were measured on 2 cores with Debian 12, btrfs and HAProxy 2.6.12: [live] in the `demo` scenario
on LXD, [LXD] and [HAProxy] one by one when the lab was designed. Other sources are named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Distribution = Literal["constant", "exponential", "lognormal"]


@dataclass(frozen=True, slots=True)
class Parameters:
    """Medians where a number varies."""

    slots: int = 8
    """`pool.max`."""
    workers: int = 4
    """`server.workers`: requests that a server works on at once, and HAProxy's `maxconn` of it."""

    create_s: float = 0.16
    """To clone the template. [LXD: 0.164, and 0.136 once the template has booted; live: 0.20]"""
    start_s: float = 0.20
    """To start a stopped clone. [LXD: 0.171 to 0.234; live: 0.18]"""
    ready_s: float = 0.25
    """From there to the application's first answer. [live: 0.18 to 0.29]"""
    thaw_s: float = 0.015
    """To thaw a frozen clone, which answers at once. [LXD: 0.007 to 0.014]"""
    stop_s: float = 0.75
    """To stop a running or frozen clone by force. [LXD: 0.79; live: 0.74]"""
    delete_s: float = 0.026
    """To delete a stopped clone. [LXD]"""
    probe_s: float = 0.0015
    """To learn that an application which is up answers. [process world]"""
    join_s: float = 0.002
    """To open HAProxy's server. [live: 0.0003 to 0.004]"""
    drain_s: float = 0.0005
    """To set it to drain. [live: 0.0002 to 0.0027]"""
    shut_s: float = 0.0012
    """To set it to maintenance and see what is left. [live: 0.0008 to 0.005]"""
    spread: float = 0.12
    """Standard deviation of the logarithm of each of these. [live]"""
    outlier_share: float = 0.01
    """How many starts, thaws and stops take `outlier_s` more. [guess: seen "now and then"]"""
    outlier_s: float = 1.0
    """[LXD: a freeze of 1.010 in the place of 0.009]"""
    cores: int = 2
    """Of the host: clones that are made, started and stopped share them."""
    contention: float = 0.72
    """Steps under way at once, a core, to this power: how much slower each is.
    [LXD: 4 starts at once on 2 cores take 0.330 each: 0.20 · (4 / 2)^0.72]"""
    parallel: int = 32
    """Actions that the scaler has under way at once; others wait. [lab.worlds.live]"""
    watch_s: float = 1.0
    """How often LXD is asked what became of the clones. [lab.worlds.lxd]"""

    boot_deadline_s: float = 30.0
    stop_deadline_s: float = 60.0
    """[lab.worlds.live]"""
    unhealthy_deadline_s: float = 5.0
    retry_after_s: float = 5.0
    """A slot whose clone could not be made is left alone for so long. [lab.worlds.live]"""

    queue_timeout_s: float = 10.0
    server_timeout_s: float = 30.0
    check_interval_s: float = 0.5
    check_fall: int = 3
    """Failed checks until a server counts as down. [haproxy.cfg.j2]"""
    retries: int = 3
    """How often a request that a server did not answer is sent again. [haproxy.cfg.j2]"""
    retry_delay_s: float = 1.0
    """Before that, if there is no other server. [HAProxy: 1 s, or `timeout connect` if shorter]"""
    max_queue: int | None = None
    """A request that finds so many waiting gets a 503 at once; None: no limit, as configured."""

    log_window_s: float = 5.0
    """Quantiles are those of so many seconds. [lab.wiring]"""
    rate_window_s: float = 2.0
    """Rates likewise. [lab.balancer.haproxy]"""

    service: Distribution = "constant"
    """How the time varies that `/work?ms=N` takes; its mean is N. [app.py: constant]"""
    service_spread: float = 0.5
    """Standard deviation of its logarithm, for `lognormal`."""
    overhead_s: float = 0.0013
    """What the network, HAProxy and Python add to each answer. [live]"""
    overhead_spread: float = 1.35
    """Standard deviation of its logarithm. [live: p95 11 ms, p99 43 ms]"""
    client_s: float = 0.0005
    """From an answer to a user's next request, without think time. [Locust]"""
    cpu_metrics: bool = False
    """Whether the clones' CPU time is measured, as `Slot.cpus`."""
    cpu_overhead_s: float = 0.0008
    """CPU time of an answer beyond what `/cpu?ms=N` burns. [app.py, measured with ab]"""

    def of_processes(self) -> Parameters:
        """The same with the times of the process world. [its `demo`, in medians]"""
        return replace(
            self,
            create_s=0.0003,
            start_s=0.0007,
            ready_s=0.064,
            thaw_s=0.0005,
            stop_s=0.0035,
            delete_s=0.0005,
            spread=0.3,
            outlier_share=0.0,
            watch_s=0.0,
        )
