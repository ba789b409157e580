"""The programs that the lab calls, and LXD."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

from lab import host
from lab.doctor.check import Check, install
from lab.host import kernel, nfs_server
from lab.settings import Settings

PROGRAM_TIMEOUT_S = 20.0
LXD_TIMEOUT_S = 30.0
"""A socket that systemd holds starts the daemon at the first request."""

SNAP_LXD = Path("/var/snap/lxd/common/lxd")


def root(settings: Settings) -> Check:
    if os.geteuid() == 0:
        return Check("root", "ok", "this is root")
    return Check("root", "warn", "not root: some of this cannot be seen", "sudo ./lab.sh doctor")


def python(settings: Settings) -> Check:
    return judge_python(sys.version_info[:3])


def judge_python(version: tuple[int, ...]) -> Check:
    text = ".".join(map(str, version))
    if version >= (3, 11):
        return Check("python", "ok", text)
    return Check("python", "fail", f"{text} is older than 3.11", install("python3.11"))


def haproxy(settings: Settings) -> Check:
    if host.find("haproxy") is None:
        return Check("haproxy", "fail", "not installed", install("haproxy"))
    said = host.run(["haproxy", "-v"], PROGRAM_TIMEOUT_S)
    return judge_haproxy(said)


def judge_haproxy(said: str) -> Check:
    """From the first line of `haproxy -v`."""
    found = re.search(r"version (\d+)\.(\d+)\S*", said)
    if not found:
        return Check("haproxy", "warn", "says no version that can be read", "haproxy -v")
    version, number = found[0].removeprefix("version "), (int(found[1]), int(found[2]))
    newer = "sudo add-apt-repository ppa:vbernat/haproxy-2.8 && " + install("haproxy")
    if number < (2, 4):
        return Check("haproxy", "fail", f"{version} is older than 2.4", newer)
    if number < (2, 6):
        lost = "the lab's fixed slots work; servers added at run time need 2.6"
        return Check("haproxy", "warn", f"{version}: {lost}", newer)
    return Check("haproxy", "ok", version)


def lxd(settings: Settings) -> Check:
    sockets = [path for path in lxd_sockets() if path.exists()]
    if not sockets:
        return Check("lxd", "fail", "no socket of an LXD daemon found", "./lab.sh up")
    path = sockets[0]
    try:
        answer = ask_lxd(path)
    except PermissionError:
        return Check("lxd", "warn", f"{path} is not this user's to open", "sudo ./lab.sh doctor")
    except (OSError, ValueError, http.client.HTTPException) as error:
        remedy = "sudo systemctl restart lxd (of the snap: sudo snap restart lxd), or ./lab.sh up"
        return Check("lxd", "fail", f"{path} does not answer: {error}", remedy)
    if answer.get("auth") != "trusted":
        return Check("lxd", "warn", f"{path} does not trust this user", "sudo ./lab.sh doctor")
    server = answer.get("environment") or {}
    version = server.get("server_version", "of an unknown version")
    return Check("lxd", "ok", f"{server.get('server', 'lxd')} {version} at {path}")


def lxd_sockets() -> list[Path]:
    """Where the socket of an LXD daemon can be, the likeliest first."""
    asked = os.environ.get("LXD_DIR")
    places = [Path(asked)] if asked else [SNAP_LXD, Path("/var/lib/lxd")]
    return [place / "unix.socket" for place in places]


def ask_lxd(path: Path) -> dict[str, Any]:
    """The daemon's own description. Raises `OSError`, `ValueError` or `HTTPException`."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/1.0")
        answer: Any = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    metadata = answer.get("metadata") if isinstance(answer, dict) else None
    if not isinstance(metadata, dict) or "auth" not in metadata:
        raise ValueError("an answer that is not LXD's")
    return metadata


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("lxd", timeout=LXD_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(LXD_TIMEOUT_S)
        self.sock.connect(str(self._path))


def ip(settings: Settings) -> Check:
    return _program("ip", "addresses and routes")


def firewall(settings: Settings) -> Check:
    for program in ("nft", "iptables"):
        if path := host.find(program):
            return Check("firewall", "ok", path)
    return Check("firewall", "fail", "LXD's bridge needs nft or iptables", install("nftables"))


def dnsmasq(settings: Settings) -> Check:
    if SNAP_LXD.exists():
        return Check("dnsmasq", "ok", "the LXD snap brings its own")
    return _program("dnsmasq", "LXD starts no bridge without it")


def mmdebstrap(settings: Settings) -> Check:
    if settings.template.image != "host":
        return Check("mmdebstrap", "ok", f"not needed for {settings.template.image}")
    return _program("mmdebstrap", 'builds the template; or set template.image = "ubuntu:24.04"')


def ab(settings: Settings) -> Check:
    if path := host.find("ab"):
        return Check("ab", "ok", path)
    package = host.package_of("ab")
    return Check("ab", "warn", "not installed: no `lab load ab`", install(package))


def _program(name: str, purpose: str) -> Check:
    if path := host.find(name):
        return Check(name, "ok", path)
    return Check(name, "fail", f"not installed ({purpose})", install(host.package_of(name)))


def nfs(settings: Settings) -> Check:
    kind = settings.share.kind
    if kind == "directory":
        return Check("nfs", "ok", 'not needed for share.kind = "directory"')
    obstacle = nfs_server.obstacle()
    if obstacle is None:
        running = "runs" if nfs_server.is_running() else "can be started"
        return Check("nfs", "ok", f"the kernel's NFS server {running}")
    if kind == "nfs":
        return Check("nfs", "fail", obstacle.reason, obstacle.remedy)
    detail = f"{obstacle.reason}, so the clones get the directory itself"
    return Check("nfs", "warn", detail, obstacle.remedy)


def btrfs(settings: Settings) -> Check:
    if settings.storage.driver == "dir":
        return Check("btrfs", "ok", 'not needed for storage.driver = "dir"')
    lacking, remedy = _btrfs_lacks()
    if not lacking:
        return Check("btrfs", "ok", "clones share blocks, in a loop file")
    if settings.storage.driver == "btrfs":
        return Check("btrfs", "fail", lacking, remedy)
    return Check("btrfs", "warn", f"{lacking}, so each clone copies everything", remedy)


def _btrfs_lacks() -> tuple[str, str]:
    if not kernel.has_filesystem("btrfs", "btrfs"):
        return "this kernel has no btrfs", 'set storage.driver = "dir"'
    if not Path("/dev/loop-control").exists():
        return "no loop devices (/dev/loop-control)", "sudo modprobe loop"
    if not SNAP_LXD.exists() and host.find("mkfs.btrfs") is None:
        return "mkfs.btrfs is not installed", install("btrfs-progs")
    return "", ""


TABLE = (root, python, haproxy, lxd, ip, firewall, dnsmasq, mmdebstrap, ab, nfs, btrfs)
