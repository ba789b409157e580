"""What the lab's things are called in LXD: each name follows from the lab's own."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from lab.settings import FIRST_HOST, Settings

TEMPLATE = "template"
OWNER_KEY = "user.lab"
"""The label on everything that a lab made in LXD; its value is the lab's name."""
PORT = 80


@dataclass(frozen=True)
class Address:
    """Where a slot is on the bridge."""

    ip: str
    mac: str
    prefix: int


@dataclass(frozen=True)
class Names:
    lab: str
    subnet: ipaddress.IPv4Network

    @classmethod
    def of(cls, settings: Settings) -> Names:
        return cls(settings.lab.name, settings.network.net)

    @property
    def project(self) -> str:
        return self.lab

    @property
    def pool(self) -> str:
        return self.lab

    @property
    def bridge(self) -> str:
        return f"{self.lab}br0"

    @property
    def gateway(self) -> str:
        return f"{self.subnet[1]}/{self.subnet.prefixlen}"

    def address(self, slot: int) -> Address:
        ip = self.subnet[FIRST_HOST + slot]
        # 00:16:3e is the prefix for containers; the rest follows from the address, so no two
        # slots of two labs on one host can share it.
        tail = int(ip) & 0xFFFFFF
        mac = f"00:16:3e:{tail >> 16:02x}:{tail >> 8 & 0xFF:02x}:{tail & 0xFF:02x}"
        return Address(str(ip), mac, self.subnet.prefixlen)


def container_name(slot: int) -> str:
    return f"web-{slot}"


def slot_of(container: str) -> int | None:
    """The slot of a container of this name; None if it is no slot's."""
    prefix, _, number = container.partition("-")
    return int(number) if prefix == "web" and number.isdecimal() else None
