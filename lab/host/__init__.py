"""The one door to the host's processes and network.

Whoever needs `ip`, `exportfs` or any other program goes through `run`.
"""

from lab.host.network import (
    Use,
    block_route,
    free_subnet,
    networks_in_use,
    set_neighbours,
    unblock_route,
)
from lab.host.ports import free_port, port_is_free
from lab.host.processes import CommandFailed, find, package_of, require_root, run

__all__ = [
    "CommandFailed",
    "Use",
    "block_route",
    "find",
    "free_port",
    "free_subnet",
    "networks_in_use",
    "package_of",
    "port_is_free",
    "require_root",
    "run",
    "set_neighbours",
    "unblock_route",
]
