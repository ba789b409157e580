"""`up` and `down`: each step looks at what is there and does what is missing.

Both can be repeated, interrupted and repeated again; they hold no record of how far they came.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lab import deployment, host, scaler, wiring
from lab.assets import asset
from lab.balancer import config
from lab.balancer.haproxy import BACKEND, FRONTEND
from lab.balancer.process import HAProxyProcess
from lab.balancer.runtime import RuntimeSocket
from lab.balancer.statistics import parse
from lab.core.phases import Gate
from lab.deployment import Deployment
from lab.errors import LabError
from lab.lxd.client import Lxd
from lab.lxd.estate import Estate
from lab.lxd.names import TEMPLATE, Names
from lab.progress import Progress
from lab.settings import Settings
from lab.share.base import Share
from lab.share.choose import choose
from lab.template import build, recipe
from lab.worlds.base import Fleet
from lab.worlds.lxd import SPEC_KEY

READY_PATIENCE_S = 30
DELETE_DEADLINE_S = 120
PARALLEL = 8


def up(asked: Settings, progress: Progress) -> Deployment:
    """Bring the lab up as `asked`, or bring what runs there in line with it."""
    host.require_root("`lab up`")
    _make_directory(asked)
    with one_at_a_time(asked.directory):
        settings, notices = _free_places(asked)
        new = lay_ground(settings, asked, progress, notices)
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


def _make_directory(settings: Settings) -> None:
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


def down(settings: Settings, purge: bool, progress: Progress) -> tuple[str, ...]:
    """Remove what the lab made; the template and its image too if `purge`.

    Returns what was left in place, and why.
    """
    host.require_root("`lab down`")
    if not settings.directory.exists():
        left = _down(settings, purge, progress)
    else:
        with one_at_a_time(settings.directory):
            left = _down(settings, purge, progress)
        shutil.rmtree(settings.directory)
        with contextlib.suppress(OSError):  # another lab's directory is beside it
            settings.lab.state_dir.rmdir()
    return left


def _down(asked: Settings, purge: bool, progress: Progress) -> tuple[str, ...]:
    found = deployment.read(asked)
    settings = found.settings if found else asked
    progress("stopping the scaler")
    scaler.stop(settings.directory)
    progress("stopping HAProxy")
    HAProxyProcess(settings.directory).stop()
    estate = wiring.estate(settings)
    _remove_clones(settings, estate, progress)
    progress("removing the share")
    left = [share.down(purge) for share in _shares(settings)]
    progress("removing the bridge")
    estate.remove_network()
    host.unblock_route(Names.of(settings).subnet)
    if purge:
        progress("removing the template, its image and the storage pool")
        estate.remove_storage()
    return tuple(notice for notice in left if notice)


def lay_ground(
    settings: Settings, asked: Settings, progress: Progress, notices: Sequence[str] = ()
) -> Deployment:
    """Storage, template, bridge, addresses and share: all that clones stand on."""
    names = Names.of(settings)
    lxd = Lxd(names.project)
    estate = Estate(settings, lxd)
    host.block_route(names.subnet)
    found = [*notices, *estate.make_storage(progress)]
    wanted = recipe.read(settings.template.image, asset("containers"))
    build_template(settings, estate, lxd, wanted, progress)
    estate.make_network(progress)
    wiring.neighbours(settings)
    share = choose(settings, _id_base(lxd))
    progress(f"sharing {settings.share.path}")
    share.up()
    if share.notice:
        found.append(share.notice)
    return Deployment(settings, asked, tuple(found), share.kind, str(share.source), wanted.hash)


def _remove_stale_clones(new: Deployment, progress: Progress) -> None:
    """Delete the clones that were made from another template or with other settings."""
    settings = new.settings
    fleet = wiring.lxd_fleet(new)
    stale = [
        slot
        for slot, record in wiring.estate(settings).clones().items()
        if slot > settings.pool.max
        or record["config"].get(SPEC_KEY) != fleet.spec(slot)["config"][SPEC_KEY]
    ]
    if stale:
        progress(f"removing {len(stale)} clones of an earlier template")
        scaler.stop(settings.directory)
        _delete(fleet, stale)


def build_template_alone(settings: Settings, progress: Progress) -> bool:
    """`lab template build`: the template and the storage that it needs; whether it was built."""
    _make_directory(settings)
    with one_at_a_time(settings.directory):
        lxd = Lxd(settings.lab.name)
        estate = Estate(settings, lxd)
        estate.make_storage(progress)
        wanted = recipe.read(settings.template.image, asset("containers"))
        return build_template(settings, estate, lxd, wanted, progress)


def build_template(
    settings: Settings,
    estate: Estate,
    lxd: Lxd,
    wanted: recipe.Recipe,
    progress: Progress,
) -> bool:
    """Build the template unless it is up to date; whether it was built."""
    _make_directory(settings)
    return build.ensure(
        lxd,
        wanted,
        settings.lab.name,
        settings.directory,
        estate.way_out(progress),
        progress,
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


def _free_places(asked: Settings) -> tuple[Settings, list[str]]:
    """`asked` with a subnet and ports that are free, and a notice for each that had to change."""
    notices: list[str] = []
    names = Names.of(asked)
    subnet = host.free_subnet(names.subnet, names.bridge)
    if subnet != names.subnet:
        notices.append(f"the subnet {names.subnet} is in use on this host: took {subnet}")
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
    settings = asked.model_copy(
        update={
            "network": asked.network.model_copy(update={"subnet": str(subnet)}),
            "balancer": asked.balancer.model_copy(update=ports),
        }
    )
    return settings, notices


def _id_base(lxd: Lxd) -> int:
    """The host's user id that is root in the containers."""
    config = lxd.get(f"instances/{TEMPLATE}")["config"]
    maps = json.loads(config.get("volatile.last_state.idmap") or "[]")
    return next((int(entry["Hostid"]) for entry in maps if entry["Nsid"] == 0), 0)


def _shares(settings: Settings) -> list[Share]:
    """Both kinds: an interrupted `up` or an edited lab.toml may have left either."""
    found = []
    for kind in ("nfs", "directory"):
        share = settings.share.model_copy(update={"kind": kind})
        found.append(choose(settings.model_copy(update={"share": share}), None, removing=True))
    return found


def _remove_clones(settings: Settings, estate: Estate, progress: Progress) -> None:
    slots = list(estate.clones())
    if slots:
        progress(f"removing {len(slots)} clones")
        fleet = wiring.lxd_fleet(Deployment(settings, settings))
        _delete(fleet, slots)


def _delete(fleet: Fleet, slots: list[int]) -> None:
    with ThreadPoolExecutor(PARALLEL) as pool:
        for done in [pool.submit(fleet.delete, slot, DELETE_DEADLINE_S) for slot in slots]:
            done.result()


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
