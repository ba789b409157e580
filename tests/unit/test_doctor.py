"""What `lab doctor` concludes, on hosts that lack one thing or another."""

from __future__ import annotations

import json
import socket
import threading
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from lab import doctor, host
from lab.doctor import programs, room
from lab.errors import LabError
from lab.host import kernel, nfs_server
from lab.settings import Settings, load


def settings(*overrides: str) -> Settings:
    return load(None, overrides).settings


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A host with no program, no LXD, and no kernel module."""
    monkeypatch.setattr(host.processes, "SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr(programs, "SNAP_LXD", tmp_path / "snap-lxd")
    monkeypatch.setattr(kernel, "has_filesystem", lambda *_: False)
    monkeypatch.setattr(nfs_server, "has_filesystem", lambda *_: False)
    monkeypatch.setenv("LXD_DIR", str(tmp_path / "lxd"))
    return tmp_path


def test_everything_is_looked_at_and_nothing_raises_on_a_bare_host(bare):
    found = {check.name: check for check in doctor.checks(settings())}
    assert len(found) == len(doctor.TABLE)
    failing = {name for name, check in found.items() if check.status == "fail"}
    assert failing >= {"haproxy", "lxd", "ip", "firewall", "dnsmasq", "mmdebstrap"}
    assert {found[name].status for name in ("ab", "nfs", "btrfs")} == {"warn"}


def test_whatever_is_not_well_has_a_remedy(bare):
    for check in doctor.checks(settings()):
        assert check.status == "ok" or check.remedy, check


def test_remedies_name_the_package(bare):
    found = {check.name: check for check in doctor.checks(settings())}
    assert found["ab"].remedy == "sudo apt-get install apache2-utils"
    assert found["ip"].remedy == "sudo apt-get install iproute2"
    assert found["firewall"].remedy == "sudo apt-get install nftables"


def test_what_the_settings_do_not_need_is_not_missed(bare):
    wanted = settings("template.image=ubuntu:24.04", "share.kind=directory", "storage.driver=dir")
    found = {check.name: check for check in doctor.checks(wanted)}
    assert {found[name].status for name in ("mmdebstrap", "nfs", "btrfs")} == {"ok"}


def test_what_the_settings_insist_on_fails(bare):
    found = {c.name: c for c in doctor.checks(settings("share.kind=nfs", "storage.driver=btrfs"))}
    assert {found[name].status for name in ("nfs", "btrfs")} == {"fail"}
    assert "share.kind" in found["nfs"].remedy


def test_a_check_that_breaks_is_a_failure_of_that_check_alone(monkeypatch):
    def breaks(_: Settings) -> doctor.Check:
        raise LabError("ip: no end within 20 s")

    monkeypatch.setattr(doctor, "TABLE", (breaks, programs.python))
    [broken, python] = doctor.checks(settings())
    assert (broken.name, broken.status) == ("breaks", "fail")
    assert "no end within" in broken.detail
    assert python.status == "ok"


# --- versions


@pytest.mark.parametrize(
    ("said", "status", "detail"),
    [
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "ok", "2.6.12"),
        ("HAProxy version 3.0.11-1+deb13u1 2025/12/03", "ok", "3.0.11"),
        ("HAProxy version 2.4.24-0ubuntu0.22.04.1 2023/10/31", "warn", "added at run time need 2"),
        ("HA-Proxy version 2.2.9-2+deb11u6 2023/12/14", "fail", "2.2.9-2+deb11u6 is older"),
        ("something else", "warn", "no version"),
    ],
)
def test_haproxys_version(said, status, detail):
    found = programs.judge_haproxy(said)
    assert found.status == status
    assert detail in found.detail
    assert bool(found.remedy) == (status != "ok")


@pytest.mark.parametrize(("version", "status"), [((3, 11, 0), "ok"), ((3, 10, 12), "fail")])
def test_pythons_version(version, status):
    assert programs.judge_python(version).status == status


# --- LXD's socket


@pytest.fixture
def lxd_answering(monkeypatch, tmp_path):
    """Serves one request on an LXD socket with the given bytes."""
    monkeypatch.setenv("LXD_DIR", str(tmp_path))
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "unix.socket"))
    server.listen()

    def answer(body: bytes) -> None:
        def serve() -> None:
            with server.accept()[0] as client:
                client.recv(65536)
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                client.sendall(head.encode() + body)

        threading.Thread(target=serve, daemon=True).start()

    yield answer
    server.close()


def reply(auth: str) -> bytes:
    metadata: dict[str, object] = {"auth": auth}
    if auth == "trusted":
        metadata["environment"] = {"server": "lxd", "server_version": "5.0.2"}
    return json.dumps({"metadata": metadata}).encode()


def test_lxd_that_answers(lxd_answering, tmp_path):
    lxd_answering(reply("trusted"))
    found = programs.lxd(settings())
    assert (found.status, found.detail) == ("ok", f"lxd 5.0.2 at {tmp_path}/unix.socket")


def test_lxd_that_does_not_trust_this_user(lxd_answering):
    lxd_answering(reply("untrusted"))
    found = programs.lxd(settings())
    assert found.status == "warn"
    assert "sudo" in found.remedy


@pytest.mark.parametrize("body", [b"not json", b"[]", b'{"metadata": null}', b"{}"])
def test_an_answer_that_is_not_lxds(lxd_answering, body):
    lxd_answering(body)
    found = programs.lxd(settings())
    assert found.status == "fail"
    assert "does not answer" in found.detail


def test_a_socket_that_nobody_listens_on(monkeypatch, tmp_path):
    monkeypatch.setenv("LXD_DIR", str(tmp_path))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "unix.socket"))
    found = programs.lxd(settings())
    assert found.status == "fail"
    assert "refused" in found.detail


# --- room


def test_memory_that_is_short_names_what_would_fit():
    wanted = settings("pool.max=40", "server.memory=512MiB")
    assert room.judge_memory(wanted, 21 * 1024**3).status == "ok"
    found = room.judge_memory(wanted, 4 * 1024**3)
    assert found.status == "warn"
    assert "40 clones may take 20480 MiB" in found.detail
    assert "pool.max = 8," in found.remedy


def test_a_kernel_limit_that_is_short_comes_with_the_command(monkeypatch):
    monkeypatch.setattr(kernel, "setting", {"fs.inotify.max_user_instances": 128}.get)
    assert room.inotify(settings("pool.max=8")).status == "ok"
    found = room.inotify(settings("pool.max=100"))
    assert found.status == "warn"
    assert found.remedy == "sudo sysctl -w fs.inotify.max_user_instances=1032"
    assert room.keys(settings("pool.max=100")).detail == "this kernel has no kernel.keys.maxkeys"


@pytest.mark.parametrize(("free_mib", "status"), [(9000, "ok"), (5000, "warn"), (1000, "fail")])
def test_disk(monkeypatch, free_mib, status):
    usage = type("Usage", (), {"free": free_mib * room.MIB})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    found = room.disk(settings("storage.size=8GiB"))
    assert found.status == status
    assert bool(found.remedy) == (status != "ok")


def test_a_port_taken_by_another_program():
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        found = room.port(settings(f"balancer.port={number}"))
    assert found.status == "warn"
    assert "is taken by" in found.detail
    assert found.remedy.startswith("set balancer.port = ")


def test_a_port_held_by_this_lab(monkeypatch):
    own = settings("lab.name=mine")
    monkeypatch.setattr(room, "_listener", lambda _: ("haproxy", f"-f {own.directory}/haproxy.cfg"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        found = room.port(settings("lab.name=mine", f"balancer.port={number}"))
    assert (found.status, found.remedy) == ("ok", "")


def test_a_subnet_in_use(monkeypatch):
    other = IPv4Network("10.64.9.0/24")
    monkeypatch.setattr(host, "free_subnet", lambda *_: other)
    found = room.subnet(settings())
    assert found.status == "warn"
    assert found.remedy == 'set network.subnet = "10.64.9.0/24"'


def test_sizes():
    assert room.bytes_of("256MiB") == 256 * 1024**2
    assert room.bytes_of("8GiB") == 8 * 1024**3


def test_it_runs_on_this_host():
    assert [check for check in doctor.checks(Settings()) if check.status == "ok"]
    assert Path("/proc").exists()
