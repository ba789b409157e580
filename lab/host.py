"""The host: its network, its ports, and the commands that change them."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
from collections.abc import Iterable

from lab.errors import LabError

TIMEOUT_S = 20.0
SEARCH_RANGE = ipaddress.IPv4Network("10.64.0.0/10")
BLOCK_METRIC = 4_278_198_272


def run(command: list[str], timeout_s: float = TIMEOUT_S, input_: str | None = None) -> str:
    """What the command printed; LabError with its own last line if it failed."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, input=input_
        )
    except FileNotFoundError:
        raise LabError(f"{command[0]} is not installed: ./lab.sh installs what is missing") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"`{' '.join(command)}` took longer than {timeout_s:g} s") from None
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise LabError(f"`{' '.join(command)}` failed: {words[-1] if words else 'no reason given'}")
    return done.stdout


def require_root(what: str) -> None:
    if os.geteuid() != 0:
        raise LabError(f"{what} needs root: run it with sudo")


def free_subnet(configured: ipaddress.IPv4Network, own_bridge: str) -> ipaddress.IPv4Network:
    taken = taken_subnets(
        json.loads(run(["ip", "-json", "addr"])), json.loads(run(["ip", "-json", "route"])), own_bridge
    )
    for candidate in (configured, *SEARCH_RANGE.subnets(new_prefix=configured.prefixlen)):
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise LabError(f"no free subnet of the size of {configured} in {SEARCH_RANGE}")


def taken_subnets(addresses: list[dict], routes: list[dict], own_bridge: str) -> list[ipaddress.IPv4Network]:
    taken = []
    for link in addresses:
        if link["ifname"] == own_bridge:
            continue
        for a in link["addr_info"]:
            if a["family"] == "inet":
                taken.append(ipaddress.ip_interface(f"{a['local']}/{a['prefixlen']}").network)
    for r in routes:
        if r["dst"] == "default" or r.get("type") == "unreachable" or r.get("dev") == own_bridge:
            continue
        taken.append(ipaddress.IPv4Network(r["dst"]))
    return taken


def free_port(address: str, wanted: int, avoid: tuple[int, ...] = ()) -> int:
    for port in [*range(wanted, 65536), *range(1024, wanted)]:
        if port in avoid:
            continue
        try:
            socket.create_server((address, port)).close()
        except OSError:
            continue
        return port
    raise LabError(f"no free port on {address}")


def set_neighbours(bridge: str, pairs: Iterable[tuple[str, str]]) -> None:
    lines = [f"neigh replace {ip} lladdr {mac} nud permanent dev {bridge}" for ip, mac in pairs]
    run(["ip", "-batch", "-"], input_="\n".join(lines) + "\n")


def block_route(subnet: ipaddress.IPv4Network) -> None:
    run(["ip", "route", "replace", "unreachable", str(subnet), "metric", str(BLOCK_METRIC)])


def unblock_route(subnet: ipaddress.IPv4Network) -> None:
    try:
        run(["ip", "route", "del", "unreachable", str(subnet), "metric", str(BLOCK_METRIC)])
    except LabError:
        pass
