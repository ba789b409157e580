"""The ground of local processes: a directory and free ports. No root, no LXD."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lab import host
from lab.assets import asset
from lab.balancer.config import Server
from lab.deployment import Deployment
from lab.errors import LabError
from lab.progress import Progress
from lab.settings import Settings
from lab.worlds.process import ProcessFleet

ADDRESS = "127.0.0.1"
FIRST_PORT = 18_100
"""A slot n listens on the first port of the lab's range + n."""
LAST_PORT = 28_000
DELETE_DEADLINE_S = 10


class ProcessGround:
    """Implements `lab.grounds.base.Ground`."""

    needs_root = False

    def find_place(self, asked: Settings) -> tuple[Settings, list[str]]:
        return asked, []

    def lay(
        self, settings: Settings, asked: Settings, progress: Progress, notices: Sequence[str] = ()
    ) -> Deployment:
        share = settings.directory / "share"
        share.mkdir(parents=True, exist_ok=True)
        page = share / "index.html"
        if not page.exists():
            shutil.copyfile(asset("containers") / "share" / "index.html", page)
        _first_port(settings)
        found = [*notices, "the servers are local processes: nothing isolates them from each other"]
        return Deployment(settings, asked, tuple(found), "directory", str(share))

    def fleet(self, deployment: Deployment) -> ProcessFleet:
        settings = deployment.settings
        return ProcessFleet(
            settings.directory,
            asset("containers") / "app" / "app.py",
            Path(deployment.share_source),
            settings.pool.max,
            settings.server.workers,
            _first_port(settings),
        )

    def servers(self, settings: Settings) -> tuple[Server, ...]:
        first = _first_port(settings)
        return tuple(
            Server(f"web-{slot}", ADDRESS, first + slot) for slot in range(1, settings.pool.max + 1)
        )

    def stale(self, deployment: Deployment) -> list[int]:
        return []

    def clear(self, settings: Settings, purge: bool, progress: Progress) -> tuple[str, ...]:
        progress("ending the servers")
        if settings.directory.exists():
            fleet = self.fleet(Deployment(settings, settings))
            for slot in range(1, settings.pool.max + 1):
                fleet.delete(slot, DELETE_DEADLINE_S)
        return ()


def _first_port(settings: Settings) -> int:
    """The first of the lab's ports, found once and then written down in the lab's directory."""
    path = settings.directory / "first-port"
    count = settings.pool.max + 1
    if path.exists():
        return int(path.read_text())
    for first in range(FIRST_PORT, LAST_PORT, count):
        if all(host.port_is_free(ADDRESS, port) for port in range(first, first + count)):
            path.write_text(str(first))
            return first
    raise LabError(f"no {count} free ports in a row from {FIRST_PORT} to {LAST_PORT}")
