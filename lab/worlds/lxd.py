"""The slots' containers in LXD."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from typing import Any

from lab.core.phases import Container
from lab.errors import LabError
from lab.lxd.client import Lxd, LxdRefused
from lab.lxd.names import OWNER_KEY, PORT, TEMPLATE, Names, container_name, slot_of
from lab.worlds.base import Usage
from lab.worlds.probe import probe
from lab.worlds.usage import of_cgroup

POLL_S = 1.0
STALE_S = 5.0
STATUS = {
    "Stopped": Container.STOPPED,
    "Running": Container.RUNNING,
    "Frozen": Container.FROZEN,
}
SPEC_KEY = "user.lab.spec"


class LxdFleet:
    """Implements `lab.worlds.base.Fleet`.

    Asking LXD takes some milliseconds a container, so a thread of its own asks once a second, and
    each operation of the fleet's writes down what it changed.
    """

    def __init__(
        self, lxd: Lxd, names: Names, slots: int, share_source: str, template: str
    ) -> None:
        self._lxd = lxd
        self._names = names
        self._numbers = range(1, slots + 1)
        self._share_source = share_source
        self._template = template
        self._lock = threading.Lock()
        self._statuses: dict[int, Container] = {}
        self._changed_s: dict[int, float] = {}
        self._answered_s = float("-inf")
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def containers(self) -> dict[int, Container] | None:
        if self._thread is None:
            self._poll()
            self._thread = threading.Thread(target=self._watch, name="lxd-watch", daemon=True)
            self._thread.start()
        with self._lock:
            if time.monotonic() - self._answered_s > STALE_S:
                return None
            return {
                number: self._statuses.get(number, Container.ABSENT) for number in self._numbers
            }

    def usage(self) -> dict[int, Usage]:
        with self._lock:
            running = [n for n, status in self._statuses.items() if status is Container.RUNNING]
        # LXD's own name for a container's control group.
        group = f"lxc.payload.{self._names.project}_"
        found = {slot: of_cgroup(group + container_name(slot)) for slot in running}
        return {slot: usage for slot, usage in found.items() if usage is not None}

    def create(self, slot: int, deadline_s: float) -> None:
        body = self.spec(slot)
        try:
            self._lxd.post("instances", body, deadline_s)
        except LxdRefused as refusal:
            raise _explained(refusal) from None
        self._now(slot, Container.STOPPED)

    def spec(self, slot: int) -> dict[str, Any]:
        """What a slot's container is made from, with a hash of all of it in its label."""
        address = self._names.address(slot)
        body: dict[str, Any] = {
            "name": container_name(slot),
            "source": {"type": "copy", "source": TEMPLATE},
            "profiles": ["default"],
            "config": {
                OWNER_KEY: self._names.lab,
                # Before init starts, so that nothing in the container waits for DHCP.
                "raw.lxc": f"lxc.net.0.ipv4.address = {address.ip}/{address.prefix}",
            },
            "devices": {
                "eth0": {
                    "type": "nic",
                    "nictype": "bridged",
                    "parent": self._names.bridge,
                    "name": "eth0",
                    "hwaddr": address.mac,
                },
                "share": {"type": "disk", "source": self._share_source, "path": "/srv/share"},
            },
        }
        text = json.dumps([self._template, body], sort_keys=True)
        body["config"][SPEC_KEY] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return body

    def start(self, slot: int, deadline_s: float) -> None:
        frozen = self._statuses.get(slot) is Container.FROZEN
        self._change_state(slot, "unfreeze" if frozen else "start", deadline_s)
        self._now(slot, Container.RUNNING)

    def stop(self, slot: int, deadline_s: float) -> None:
        # Nothing is in flight any more, so there is nothing to shut down in an orderly way.
        self._change_state(slot, "stop", deadline_s, force=True)
        self._now(slot, Container.STOPPED)

    def delete(self, slot: int, deadline_s: float) -> None:
        path = f"instances/{container_name(slot)}"
        found = self._lxd.find(path)
        if found is not None and found["status"] != "Stopped":
            self._change_state(slot, "stop", deadline_s, force=True)
        self._lxd.delete(path, deadline_s)
        self._now(slot, Container.ABSENT)

    def answers(self, slot: int) -> bool:
        return probe(self._names.address(slot).ip, PORT)

    def close(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def _change_state(self, slot: int, action: str, deadline_s: float, force: bool = False) -> None:
        body = {"action": action, "timeout": -1, "force": force}
        try:
            self._lxd.put(f"instances/{container_name(slot)}/state", body, deadline_s)
        except LxdRefused as refusal:
            if "already" not in str(refusal):
                raise

    def _now(self, slot: int, status: Container) -> None:
        with self._lock:
            self._statuses[slot] = status
            self._changed_s[slot] = time.monotonic()

    def _watch(self) -> None:
        while not self._closing.wait(POLL_S):
            self._poll()

    def _poll(self) -> None:
        asked_s = time.monotonic()
        try:
            instances = self._lxd.get("instances", recursion=1)
        except LabError:
            return
        seen = {slot_of(instance["name"]): instance["status"] for instance in instances}
        with self._lock:
            self._answered_s = time.monotonic()
            for number in self._numbers:
                # What this fleet changed while LXD was being asked is newer than the answer.
                if self._changed_s.get(number, 0.0) < asked_s:
                    word = seen.get(number)
                    self._statuses[number] = (
                        Container.ABSENT if word is None else STATUS.get(word, Container.STOPPED)
                    )


def _explained(refusal: LxdRefused) -> LabError:
    """Why a clone cannot be made, with the remedy where there is one."""
    if "no space left" in str(refusal).lower():
        return LabError("the storage pool is full: lower pool.max, or raise storage.size")
    if refusal.status == 404:
        return LabError("the template is gone: `lab up` makes it again")
    return refusal
