"""What there is room for: disk, memory, kernel limits, ports, addresses."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from lab import host
from lab.doctor.check import Check
from lab.doctor.programs import PROGRAM_TIMEOUT_S, SNAP_LXD
from lab.errors import LabError
from lab.host import kernel
from lab.settings import Settings

MIB = 1024**2
LEAST_DISK = 2 * 1024**3
"""Bytes: a template and its image, and some clones' own files."""

# What one clone takes of a limit, and what the rest of the host may be using of it.
INOTIFY_EACH, INOTIFY_REST = 5, 16  # systemd in a clone holds five; all count as the host root's
KEYS_EACH, KEYS_REST = 5, 16
NEIGHBOURS_EACH, NEIGHBOURS_REST = 2, 128


def disk(settings: Settings) -> Check:
    wanted = bytes_of(settings.storage.size)
    places = [settings.directory, SNAP_LXD if SNAP_LXD.exists() else Path("/var/lib/lxd")]
    free, place = min((shutil.disk_usage(_existing(p)).free, _existing(p)) for p in places)
    detail = f"{free // MIB} MiB free at {place}, storage.size is {settings.storage.size}"
    if free >= wanted:
        return Check("disk", "ok", detail)
    remedy = f'make room there, or set storage.size = "{max(1, free // MIB // 2)}MiB"'
    return Check("disk", "warn" if free >= min(LEAST_DISK, wanted) else "fail", detail, remedy)


def _existing(path: Path) -> Path:
    # Not Path.exists, which raises where a directory above may not be entered.
    return next(place for place in (path, *path.parents) if os.access(place, os.F_OK))


def memory(settings: Settings) -> Check:
    text = Path("/proc/meminfo").read_text(encoding="utf-8")
    found = re.search(r"MemAvailable:\s+(\d+) kB", text)
    available = int(found[1]) * 1024 if found else 0
    return judge_memory(settings, available)


def judge_memory(settings: Settings, available: int) -> Check:
    """`available`: bytes. The clones' limits are a ceiling; most stay far below it."""
    each = bytes_of(settings.server.memory)
    most = settings.pool.max * each
    detail = (
        f"{available // MIB} MiB available; {settings.pool.max} clones may take "
        f"{most // MIB} MiB ({settings.server.memory} each)"
    )
    if most <= available:
        return Check("memory", "ok", detail)
    fitting = max(1, available // each)
    return Check("memory", "warn", detail, f"set pool.max = {fitting}, or server.memory lower")


def inotify(settings: Settings) -> Check:
    needed = INOTIFY_REST + INOTIFY_EACH * settings.pool.max
    return _limit("inotify", "fs.inotify.max_user_instances", needed)


def keys(settings: Settings) -> Check:
    needed = KEYS_REST + KEYS_EACH * settings.pool.max
    return _limit("keys", "kernel.keys.maxkeys", needed)


def neighbours(settings: Settings) -> Check:
    needed = NEIGHBOURS_REST + NEIGHBOURS_EACH * settings.pool.max
    return _limit("neighbours", "net.ipv4.neigh.default.gc_thresh3", needed)


def _limit(name: str, key: str, needed: int) -> Check:
    value = kernel.setting(key)
    if value is None:
        return Check(name, "ok", f"this kernel has no {key}")
    if value >= needed:
        return Check(name, "ok", f"{key} = {value}, enough for pool.max (about {needed})")
    detail = f"{key} = {value}, and pool.max needs about {needed}"
    return Check(name, "warn", detail, f"sudo sysctl -w {key}={2 * needed}")


def cgroups(settings: Settings) -> Check:
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        version, controllers = 2, set(unified.read_text(encoding="utf-8").split())
    else:
        lines = Path("/proc/cgroups").read_text(encoding="utf-8").splitlines()[1:]
        version, controllers = 1, {line.split()[0] for line in lines if line.split()[3] == "1"}
    if lacking := sorted({"cpu", "memory"} - controllers):
        names = ", ".join(lacking)
        remedy = "boot with cgroup_enable=memory, or with a kernel that has it"
        return Check("cgroups", "warn", f"version {version} without {names}: no limits", remedy)
    return Check("cgroups", "ok", f"version {version} with cpu and memory")


def port(settings: Settings) -> Check:
    balancer = settings.balancer
    return _port("port", "balancer.port", balancer.bind, balancer.port, settings.directory)


def stats_port(settings: Settings) -> Check:
    number = settings.balancer.stats_port
    return _port("stats port", "balancer.stats_port", "127.0.0.1", number, settings.directory)


def _port(name: str, key: str, address: str, number: int, directory: Path) -> Check:
    if host.port_is_free(address, number):
        return Check(name, "ok", f"{address}:{number} is free")
    holder, command = _listener(number)
    if str(directory) in command:
        return Check(name, "ok", f"{address}:{number} is this lab's own")
    instead = host.free_port(address, number)
    detail = f"{address}:{number} is taken by {holder}; the lab would take {instead}"
    return Check(name, "warn", detail, f"set {key} = {instead}")


def _listener(number: int) -> tuple[str, str]:
    """Who listens on a port, as a name and as a command line, as far as this user can see."""
    try:
        command = ["ss", "-H", "-l", "-n", "-t", "-p", f"sport = :{number}"]
        said = host.run(command, PROGRAM_TIMEOUT_S)
    except LabError:
        said = ""
    found = re.search(r'"([^"]+)",pid=(\d+)', said)
    if not found:
        return "another program", ""
    try:
        line = Path("/proc", found[2], "cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        line = ""
    return f"{found[1]} (process {found[2]})", line


def subnet(settings: Settings) -> Check:
    configured = settings.network.net
    try:
        free = host.free_subnet(configured, f"{settings.lab.name}br0")
    except LabError as error:
        return Check("subnet", "fail", str(error), "ip route show table all")
    if free == configured:
        return Check("subnet", "ok", f"{configured} is free")
    detail = f"{configured} is in use on this host; the lab would take {free}"
    return Check("subnet", "warn", detail, f'set network.subnet = "{free}"')


def bytes_of(size: str) -> int:
    """The bytes of a size as settings have it, like 256MiB."""
    return int(size[:-3]) * {"MiB": MIB, "GiB": 1024 * MIB}[size[-3:]]


TABLE = (
    disk,
    memory,
    inotify,
    keys,
    neighbours,
    cgroups,
    port,
    stats_port,
    subnet,
)
