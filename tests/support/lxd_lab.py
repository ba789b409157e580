"""A lab on real LXD for the tests: built once a run, and gone at its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import lifecycle, wiring
from lab.balancer.process import HAProxyProcess
from lab.grounds.lxd import LxdGround
from lab.lxd.client import Lxd
from lab.settings import Settings, load
from lab.worlds.live import LiveWorld
from support.stage import DEADLINES, SLOTS, Stage, free_ports, played


@dataclass(frozen=True)
class LxdLab:
    """The `lab` command line on a lab of the tests' own."""

    overrides: tuple[str, ...]
    folder: Path

    @property
    def settings(self) -> Settings:
        return load(None, self.overrides).settings

    def command(self, *arguments: str) -> list[str]:
        sets = [word for override in self.overrides for word in ("--set", override)]
        return [sys.executable, "-m", "lab", "--no-settings", *sets, *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, timeout_s: float = 300) -> str:
        """What the command said on both streams; it must end with `code`."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert done.returncode == code, f"{arguments} ended with {done.returncode}: {done.stdout}"
        return done.stdout

    def status(self) -> dict:
        return json.loads(self.run("status", "--json"))

    def phases(self) -> dict[int, str]:
        return {slot["number"]: slot["phase"] for slot in self.status()["slots"]}

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.status()["service_url"].removeprefix("http://").partition(":")
        return host, int(port)


def make(folder: Path) -> LxdLab:
    port, stats_port = free_ports(2)
    return LxdLab(
        (
            "lab.name=labtest",
            f"lab.state_dir={folder}/state",
            f"lab.runs_dir={folder}/runs",
            f"share.path={folder}/share",
            "network.subnet=10.79.0.0/24",
            f"balancer.port={port}",
            f"balancer.stats_port={stats_port}",
            "guards.shrink_after_s=2",
        ),
        folder,
    )


@contextmanager
def lxd_stage(lab: LxdLab) -> Iterator[Stage]:
    """The parts of a lab as `up` makes them, with the world in the test's own hands."""
    settings = lab.settings
    settings = settings.model_copy(
        update={
            "pool": settings.pool.model_copy(update={"max": SLOTS}),
            "balancer": settings.balancer.model_copy(
                update={"check_interval_ms": 100, "queue_timeout_s": 5.0, "server_timeout_s": 5.0}
            ),
        }
    )
    lifecycle.make_directory(settings)
    ground = LxdGround()
    deployment = ground.lay(settings, settings, lambda what: None)
    lifecycle.start_balancer(settings)
    fleet = ground.fleet(deployment)

    def open_world() -> LiveWorld:
        return LiveWorld(
            "lxd", ground.fleet(deployment), wiring.balancer(settings), SLOTS, DEADLINES
        )

    haproxy = HAProxyProcess(settings.directory)
    address = ("127.0.0.1", settings.balancer.port)
    with played(Stage(open_world(), fleet, address, haproxy, open_world)) as stage:
        yield stage
    lifecycle.down(settings, purge=False, progress=lambda what: None)


def left_behind(lab: LxdLab) -> list[str]:
    """What of the lab can still be found on this host."""
    name = lab.settings.lab.name
    lxd = Lxd("default")
    found = [
        path
        for path in (f"projects/{name}", f"storage-pools/{name}", f"networks/{name}br0")
        if lxd.find(path) is not None
    ]
    subnet = lab.settings.network.subnet.rsplit(".", 1)[0]
    listings = {
        "address": ["ip", "-4", "addr"],
        "route": ["ip", "route", "show", "table", "all"],
        "neighbour": ["ip", "neigh"],
        "process": ["ps", "-eo", "args"],
        "mount": ["findmnt", "-rno", "TARGET,SOURCE"],
        "loop device": ["losetup", "-a"],
    }
    marks = {"process": str(lab.settings.directory), "mount": str(lab.folder), "loop device": name}
    for kind, command in listings.items():
        lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
        found += [f"{kind} {line}" for line in lines if marks.get(kind, subnet) in line]
    for path in (lab.settings.lab.state_dir, lab.settings.share.path):
        found += [str(path)] if path.exists() else []
    return found
