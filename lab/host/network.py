"""Addresses, routes and neighbours of this host, through `ip`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from lab.errors import LabError
from lab.host.processes import CommandFailed, run

SPARE_RANGE = IPv4Network("10.64.0.0/10")
"""Where another subnet is looked for when the configured one is taken."""

BLOCK_METRIC = 4278198272
"""The metric that marks a route as the lab's: larger than any that a daemon gives to its own."""

IP_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Use:
    """A range of addresses that something on this host has or routes."""

    network: IPv4Network
    device: str
    """The interface, or for a route without one its type, like `unreachable`."""


def uses(addresses: list[dict[str, Any]], routes: list[dict[str, Any]]) -> tuple[Use, ...]:
    """What `ip -json addr` and `ip -json route show table all` say is in use.

    Left out: default routes, also as the two halves that VPN clients set, and the lab's own
    `unreachable` routes.
    """
    found: dict[Use, None] = {}
    for link in addresses:
        for address in link.get("addr_info", ()):
            if address.get("family") == "inet":
                # Of a point-to-point link, `prefixlen` is the other end's.
                end = address.get("address", address["local"])
                network = IPv4Network(f"{end}/{address['prefixlen']}", strict=False)
                found[Use(network, link.get("ifname", "?"))] = None
    for route in routes:
        destination = _destination(route)
        if destination is not None and not _is_ours(route):
            found[Use(destination, route.get("dev") or route.get("type", "?"))] = None
    return tuple(found)


def _destination(route: dict[str, Any]) -> IPv4Network | None:
    try:
        network = IPv4Network(route.get("dst", "default"))
    except ValueError:
        return None
    return network if network.prefixlen > 1 else None


def _is_ours(route: dict[str, Any]) -> bool:
    return route.get("type") == "unreachable" and route.get("metric") == BLOCK_METRIC


def networks_in_use() -> tuple[Use, ...]:
    """Every IPv4 range that an interface or a route of this host covers."""
    addresses = run(["ip", "-json", "-4", "addr", "show"], IP_TIMEOUT_S)
    routes = run(["ip", "-json", "-4", "route", "show", "table", "all"], IP_TIMEOUT_S)
    return uses(json.loads(addresses or "[]"), json.loads(routes or "[]"))


def free_subnet(
    configured: IPv4Network, own_bridge: str, in_use: Iterable[Use] | None = None
) -> IPv4Network:
    """`configured`, or if others use or route it, the next free one of its size in 10.64.0.0/10.

    What `own_bridge` has does not count. `in_use`: what is in use, if the caller knows.
    Raises `LabError` when all are taken.
    """
    known = networks_in_use() if in_use is None else in_use
    others = [use for use in known if use.device != own_bridge]
    user = _overlap(configured, others)
    if user is None:
        return configured
    if configured.prefixlen >= SPARE_RANGE.prefixlen:
        for candidate in SPARE_RANGE.subnets(new_prefix=configured.prefixlen):
            if not _overlap(candidate, others):
                return candidate
    raise LabError(
        f"network.subnet = {configured} is in use ({user.network} on {user.device}) and nothing "
        f"of its size in {SPARE_RANGE} is free: set network.subnet to a free private range"
    )


def _overlap(network: IPv4Network, others: Iterable[Use]) -> Use | None:
    return next((use for use in others if use.network.overlaps(network)), None)


def set_neighbours(bridge: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Make (address, MAC) pairs permanent on `bridge`, so that nobody has to ask for them."""
    lines = [f"neigh replace {a} lladdr {mac} nud permanent dev {bridge}\n" for a, mac in pairs]
    if lines:
        run(["ip", "-batch", "-"], IP_TIMEOUT_S, "".join(lines))


def block_route(subnet: IPv4Network) -> None:
    """Keep the lab's traffic off the default route for as long as the bridge is not there."""
    run(["ip", "route", "replace", *_blocking(subnet)], IP_TIMEOUT_S)


def unblock_route(subnet: IPv4Network) -> None:
    """Undo `block_route`; nothing happens when there is nothing to undo."""
    try:
        run(["ip", "route", "del", *_blocking(subnet)], IP_TIMEOUT_S)
    except CommandFailed as error:
        if "No such process" not in error.output:
            raise


def _blocking(subnet: IPv4Network) -> list[str]:
    return ["unreachable", str(subnet), "metric", str(BLOCK_METRIC)]
