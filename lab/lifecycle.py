"""`up` and `down`: each step looks at what is there and does what is missing.

Both can be repeated, interrupted and repeated again; they hold no record of how far they came.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import deployment, grounds, host, scaler, wiring
from lab.assets import asset
from lab.balancer import config
from lab.balancer.haproxy import BACKEND, FRONTEND
from lab.balancer.process import HAProxyProcess
from lab.balancer.runtime import RuntimeSocket
from lab.balancer.statistics import parse
from lab.core.phases import Gate
from lab.deployment import Deployment
from lab.errors import LabError
from lab.grounds.lxd import build_template
from lab.progress import Progress
from lab.settings import Settings

READY_PATIENCE_S = 30
DELETE_DEADLINE_S = 120


def up(asked: Settings, progress: Progress) -> Deployment:
    """Bring the lab up as `asked`, or bring what runs there in line with it."""
    ground = grounds.of(asked)
    if ground.needs_root:
        host.require_root("`lab up`")
    _refuse_another_world(asked)
    make_directory(asked)
    with one_at_a_time(asked.directory):
        settings, notices = ground.find_place(asked)
        settings = _with_free_ports(settings, asked, notices)
        if deployment.read(asked) is None:
            # So that `down` knows which places were taken, should this be interrupted.
            deployment.write(Deployment(settings, asked))
        new = ground.lay(settings, asked, progress, notices)
        if deployment.read(asked) != new:
            scaler.stop(settings.directory)
            deployment.write(new)
        _remove_stale_clones(new, progress)
        progress("starting HAProxy")
        start_balancer(settings)
        progress("starting the scaler")
        scaler.start(settings)
        progress(f"waiting for {settings.pool.min} to serve")
        _wait_until_serving(new, settings.pool.min)
        return new


def down(settings: Settings, purge: bool, progress: Progress) -> tuple[str, ...]:
    """Remove what the lab made; the template and its image too if `purge`.

    Returns what was left in place, and why.
    """
    found = deployment.read(settings)
    as_it_is = found.settings if found else settings
    if grounds.of(as_it_is).needs_root:
        host.require_root("`lab down`")
    if settings.directory.exists():
        with one_at_a_time(settings.directory):
            progress("stopping the scaler")
            scaler.stop(settings.directory)
            progress("stopping HAProxy")
            HAProxyProcess(settings.directory).stop()
            left = grounds.of(as_it_is).clear(as_it_is, purge, progress)
        shutil.rmtree(settings.directory)
    else:
        left = grounds.of(as_it_is).clear(as_it_is, purge, progress)
    with contextlib.suppress(OSError):  # it is not there, or another lab's directory is in it
        settings.lab.state_dir.rmdir()
    return left


def build_template_alone(settings: Settings, progress: Progress) -> bool:
    """`lab template build`: whether it had to be built."""
    make_directory(settings)
    with one_at_a_time(settings.directory):
        return build_template(settings, progress)


def make_directory(settings: Settings) -> None:
    """The lab's own directory, which HAProxy's unprivileged user must be able to reach."""
    directory = settings.directory
    for path in (settings.lab.state_dir, directory):
        if not path.exists():
            path.mkdir(parents=True)
            path.chmod(0o755)
    user, _ = config.unprivileged_user()
    closed = [path for path in directory.parents if not path.stat().st_mode & 0o001]
    if user and closed:
        raise LabError(
            f"lab.state_dir = {settings.lab.state_dir}: HAProxy, which runs as {user}, cannot pass "
            f"{closed[-1]}: choose another directory, or chmod o+x {closed[-1]}"
        )


def start_balancer(settings: Settings) -> None:
    """Write HAProxy's file, and start HAProxy or let it take what has changed."""
    wanted = wiring.balancer_config(settings)
    text = config.render(wanted, asset("haproxy") / "haproxy.cfg.j2")
    changed = config.install(wanted, text)
    process = HAProxyProcess(settings.directory)
    if changed and process.pid() is not None:
        process.reload()
    else:
        process.start()


@contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Hold the lab's lock, so that two commands do not build and remove the same things."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise LabError(
            "another `lab up` or `lab down` is at work on this lab: wait until it has ended"
        ) from None
    finally:
        os.close(descriptor)


def serving(settings: Settings) -> int:
    """How many servers HAProxy sends requests to."""
    text = RuntimeSocket(settings.directory / "haproxy.sock").ask("show stat")
    servers = parse(text, FRONTEND, BACKEND).servers
    return sum(server.gate is Gate.OPEN for server in servers)


def _refuse_another_world(asked: Settings) -> None:
    found = deployment.read(asked)
    if found is not None and found.settings.lab.world != asked.lab.world:
        raise LabError(
            f"the lab {asked.lab.name!r} is up in the world {found.settings.lab.world}: "
            "`lab down` first, or give this one another lab.name"
        )


def _with_free_ports(settings: Settings, asked: Settings, notices: list[str]) -> Settings:
    """`settings` with ports that are free or this lab's already; each change is a notice."""
    before = deployment.read(asked)
    holds = before is not None and HAProxyProcess(asked.directory).pid() is not None
    ports: dict[str, int] = {}
    for key, address in (("port", asked.balancer.bind), ("stats_port", "127.0.0.1")):
        wanted = getattr(asked.balancer, key)
        held = getattr(before.settings.balancer, key) if before and holds else None
        unchanged = before is not None and getattr(before.asked.balancer, key) == wanted
        if held is not None and unchanged:
            ports[key] = held
        else:
            ports[key] = host.free_port(address, wanted, avoid=tuple(ports.values()))
        if ports[key] != wanted:
            notices.append(
                f"balancer.{key} {wanted} is taken by another program: took {ports[key]}"
            )
    balancer = settings.balancer.model_copy(update=ports)
    return settings.model_copy(update={"balancer": balancer})


def _remove_stale_clones(new: Deployment, progress: Progress) -> None:
    ground = grounds.of(new.settings)
    stale = ground.stale(new)
    if stale:
        progress(f"removing {len(stale)} clones of an earlier template")
        scaler.stop(new.settings.directory)
        fleet = ground.fleet(new)
        for slot in stale:
            fleet.delete(slot, DELETE_DEADLINE_S)


def _wait_until_serving(new: Deployment, servers: int) -> None:
    patience_s = READY_PATIENCE_S + new.settings.scaler.boot_deadline_s
    deadline = time.monotonic() + patience_s
    while serving(new.settings) < servers:
        if scaler.running_pid(new.settings.directory) is None:
            raise LabError("the scaler has ended: `lab logs` says why")
        if time.monotonic() > deadline:
            raise LabError(
                f"fewer than {servers} servers serve after {patience_s:g} s: `lab logs` says why"
            )
        time.sleep(0.02)
