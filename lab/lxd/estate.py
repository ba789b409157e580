"""What the lab owns in LXD besides containers: a project, a storage pool, a profile, a bridge.

Each carries the label `user.lab`. A thing of the same name without it is somebody else's, and is
an error before anything is changed; only what carries the label is ever removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lab.errors import LabError
from lab.lxd.client import Lxd, LxdRefused
from lab.lxd.names import OWNER_KEY, Names, slot_of
from lab.progress import Progress
from lab.settings import Settings

DELETE_DEADLINE_S = 60
CLOSED_BRIDGE = {"ipv4.dhcp": "false", "ipv4.nat": "false", "dns.mode": "none"}
OPEN_BRIDGE = {"ipv4.dhcp": "true", "ipv4.nat": "true", "dns.mode": "managed"}


class Estate:
    def __init__(self, settings: Settings, lxd: Lxd) -> None:
        self._settings = settings
        self._lxd = lxd
        self._names = Names.of(settings)

    def refuse_strangers(self) -> None:
        """LabError if anything of these names is somebody else's; nothing is changed."""
        names = self._names
        for path in (f"projects/{names.project}", f"storage-pools/{names.pool}"):
            self._owned(path)
        self._owned(f"networks/{names.bridge}")

    def make_storage(self, progress: Progress) -> list[str]:
        """The project, the pool and the profile: all that a template needs.

        Returns what a person should know of them.
        """
        if not self._owned(f"projects/{self._names.project}"):
            progress("creating the LXD project")
            config = {"features.images": "true", "features.profiles": "true"}
            self._create("projects", self._names.project, {"config": self._label() | config})
        pool = self._owned(f"storage-pools/{self._names.pool}")
        if pool is None:
            pool = self._make_pool(progress)
        self._set_profile()
        if pool["driver"] == "dir" and self._settings.storage.driver == "auto":
            return [
                "no btrfs pool can be made here: clones copy every file, and are slower to make"
            ]
        return []

    def make_network(self, progress: Progress) -> None:
        """The bridge, without DHCP, DNS or a way out: addresses are set from outside."""
        path = f"networks/{self._names.bridge}"
        config = {
            "ipv4.address": self._names.gateway,
            "ipv6.address": "none",
        } | CLOSED_BRIDGE
        found = self._owned(path)
        if found is None:
            progress(f"creating the bridge {self._names.bridge}")
            body = {"type": "bridge", "config": self._label() | config}
            self._create("networks", self._names.bridge, body)
        elif any(found["config"].get(key) != value for key, value in config.items()):
            self._lxd.patch(path, {"config": config})

    @contextmanager
    def way_out(self, progress: Progress) -> Iterator[dict[str, str]]:
        """A bridge with DHCP, DNS and a way to other networks while a foreign image is set up.

        Yields the network device to give to a container.
        """
        existed = self.bridge_exists()
        self.make_network(progress)
        path = f"networks/{self._names.bridge}"
        self._lxd.patch(path, {"config": OPEN_BRIDGE})
        try:
            yield {"type": "nic", "nictype": "bridged", "parent": self._names.bridge}
        finally:
            if existed:
                self._lxd.patch(path, {"config": CLOSED_BRIDGE})
            else:
                self.remove_network()

    def bridge_exists(self) -> bool:
        return self._owned(f"networks/{self._names.bridge}") is not None

    def clones(self) -> dict[int, dict[str, Any]]:
        """LXD's record of each slot's container."""
        if self._owned(f"projects/{self._names.project}") is None:
            return {}
        records = self._lxd.get("instances", recursion=1)
        slots = {slot_of(record["name"]): record for record in records}
        return {slot: record for slot, record in slots.items() if slot is not None}

    def remove_network(self) -> None:
        if self._owned(f"networks/{self._names.bridge}") is not None:
            self._lxd.delete(f"networks/{self._names.bridge}", DELETE_DEADLINE_S)

    def remove_storage(self) -> None:
        """The project with everything in it, and the pool."""
        if self._owned(f"projects/{self._names.project}") is not None:
            self._empty_project()
            self._lxd.delete(f"projects/{self._names.project}", DELETE_DEADLINE_S)
        if self._owned(f"storage-pools/{self._names.pool}") is not None:
            self._lxd.delete(f"storage-pools/{self._names.pool}", DELETE_DEADLINE_S)

    def _empty_project(self) -> None:
        for record in self._lxd.get("instances", recursion=1):
            path = f"instances/{record['name']}"
            if record["status"] != "Stopped":
                stop = {"action": "stop", "timeout": -1, "force": True}
                self._lxd.put(f"{path}/state", stop, DELETE_DEADLINE_S)
            self._lxd.delete(path, DELETE_DEADLINE_S)
        for image in self._lxd.get("images", recursion=1):
            self._lxd.delete(f"images/{image['fingerprint']}", DELETE_DEADLINE_S)
        # The profile's root disk names the pool, which cannot go while it is named.
        self._lxd.put("profiles/default", {"config": {}, "devices": {}})

    def _make_pool(self, progress: Progress) -> dict[str, Any]:
        driver, size = self._settings.storage.driver, self._settings.storage.size
        progress("creating the storage pool")
        if driver in ("auto", "btrfs"):
            try:
                return self._create_pool("btrfs", {"size": size})
            except LxdRefused as refusal:
                if driver == "btrfs":
                    raise LabError(
                        f'{refusal}: install btrfs-progs, or set storage.driver = "dir"'
                    ) from None
        return self._create_pool("dir", {})

    def _create_pool(self, driver: str, config: dict[str, str]) -> dict[str, Any]:
        body = {"driver": driver, "config": self._label() | config}
        self._create("storage-pools", self._names.pool, body)
        return body

    def _set_profile(self) -> None:
        server = self._settings.server
        config = {
            "environment.LAB_WORKERS": str(server.workers),
            "limits.memory": server.memory,
            "boot.autostart": "false",
        }
        if server.cpus is not None:
            config["limits.cpu.allowance"] = f"{round(server.cpus * 100)}ms/100ms"
        root = {"type": "disk", "path": "/", "pool": self._names.pool}
        profile = {"config": config, "devices": {"root": root}}
        found = self._lxd.get("profiles/default")
        if {key: found[key] for key in profile} != profile:
            self._lxd.put("profiles/default", profile)

    def _label(self) -> dict[str, str]:
        return {OWNER_KEY: self._names.lab}

    def _create(self, kind: str, name: str, body: dict[str, Any]) -> None:
        self._lxd.post(kind, {"name": name, **body})

    def _owned(self, path: str) -> dict[str, Any] | None:
        """The record at `path` if it is this lab's; None if there is none; else LabError."""
        found: dict[str, Any] | None = self._lxd.find(path)
        if found is not None and found["config"].get(OWNER_KEY) != self._names.lab:
            kind, name = path.split("/")
            raise LabError(
                f"LXD has {kind[:-1].replace('-', ' ')} {name!r} already, and it is not this "
                "lab's: give the lab another name (lab.name in lab.toml)"
            )
        return found
