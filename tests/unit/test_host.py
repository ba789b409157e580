"""Commands, address ranges and ports: the parts of `lab.host` that need neither root nor a host."""

from __future__ import annotations

import socket
import time
from ipaddress import IPv4Network

import pytest

from lab import host
from lab.errors import LabError
from lab.host.network import BLOCK_METRIC, Use, uses

# `ip -json -4 addr show` and `ip -json -4 route show table all`, iproute2 6.1, shortened.
ADDRESSES = [
    {
        "ifname": "lo",
        "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}],
    },
    {"ifname": "ifb0", "flags": ["NOARP"], "addr_info": []},
    {
        "ifname": "eth0",
        "addr_info": [
            {"family": "inet", "local": "192.0.2.2", "prefixlen": 24, "scope": "global"},
            {"family": "inet6", "local": "fd00::2", "prefixlen": 64, "scope": "global"},
        ],
    },
    {
        "ifname": "labbr0",
        "addr_info": [{"family": "inet", "local": "10.77.0.1", "prefixlen": 24}],
    },
    {
        "ifname": "tun0",
        "addr_info": [
            {"family": "inet", "local": "10.8.0.2", "address": "10.9.0.1", "prefixlen": 32}
        ],
    },
    {},
]
ROUTES = [
    {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0", "flags": []},
    {"dst": "0.0.0.0/1", "dev": "tun0", "flags": []},
    {"dst": "128.0.0.0/1", "dev": "tun0", "flags": []},
    {"dst": "10.77.0.0/24", "dev": "labbr0", "protocol": "kernel", "prefsrc": "10.77.0.1"},
    {"type": "unreachable", "dst": "10.77.0.0/24", "metric": BLOCK_METRIC, "flags": []},
    {"type": "unreachable", "dst": "10.66.0.0/16", "flags": []},
    {"dst": "172.16.0.0/12", "gateway": "10.8.0.1", "dev": "tun0", "flags": []},
    {"type": "local", "dst": "10.8.0.2", "dev": "tun0", "table": "local"},
    {"dst": "fd00::/64", "dev": "eth0"},
]


def in_use(*ranges: str, device: str = "eth1") -> list[Use]:
    return [Use(IPv4Network(text), device) for text in ranges]


def test_addresses_and_routes_are_uses():
    found = {(str(use.network), use.device) for use in uses(ADDRESSES, ROUTES)}
    assert found == {
        ("127.0.0.0/8", "lo"),
        ("192.0.2.0/24", "eth0"),
        ("10.77.0.0/24", "labbr0"),
        ("10.8.0.2/32", "tun0"),
        ("10.9.0.1/32", "tun0"),
        ("172.16.0.0/12", "tun0"),
        ("10.66.0.0/16", "unreachable"),
    }


def test_the_configured_subnet_is_taken_when_only_our_own_bridge_has_it():
    configured = IPv4Network("10.77.0.0/24")
    assert host.free_subnet(configured, "labbr0", uses(ADDRESSES, ROUTES)) == configured


def test_another_labs_bridge_on_the_subnet_counts():
    configured = IPv4Network("10.77.0.0/24")
    found = host.free_subnet(configured, "otherbr0", uses(ADDRESSES, ROUTES))
    assert found == IPv4Network("10.64.0.0/24")


@pytest.mark.parametrize("taken", ["10.77.0.128/25", "10.77.0.0/16", "10.77.0.9/32"])
def test_any_overlap_is_a_conflict(taken):
    configured = IPv4Network("10.77.0.0/24")
    assert host.free_subnet(configured, "labbr0", in_use(taken)) == IPv4Network("10.64.0.0/24")


def test_the_next_free_subnet_has_the_same_size_and_skips_what_is_used():
    taken = in_use("10.77.0.0/22", "10.64.0.0/22", "10.64.5.0/24")
    found = host.free_subnet(IPv4Network("10.77.0.0/22"), "labbr0", taken)
    assert found == IPv4Network("10.64.8.0/22")


@pytest.mark.parametrize("configured", ["10.77.0.0/24", "10.0.0.0/8"])
def test_no_free_subnet_is_an_error_that_names_the_user_and_the_setting(configured):
    with pytest.raises(LabError, match=r"10\.0\.0\.0/8 on vpn0.*set network\.subnet"):
        host.free_subnet(IPv4Network(configured), "labbr0", in_use("10.0.0.0/8", device="vpn0"))


# --- commands


def test_a_command_gives_its_output_and_takes_input():
    assert host.run(["cat"], 10, "words\n") == "words\n"


def test_a_failed_command_is_told_in_its_own_last_line():
    script = 'echo "first" >&2; echo "RTNETLINK answers: No such device" >&2; exit 3'
    with pytest.raises(host.CommandFailed, match=r"No such device$") as caught:
        host.run(["sh", "-c", script + '; echo "Command failed -:1" >&2'], 10)
    assert caught.value.code == 3
    assert "first" in caught.value.output


def test_the_line_that_only_says_that_it_failed_is_passed_over():
    script = 'echo "RTNETLINK answers: No such device"; echo "Command failed -:1"; exit 1'
    with pytest.raises(LabError, match=r"No such device$"):
        host.run(["sh", "-c", script], 10)


def test_a_silent_failure_gives_the_exit_code():
    with pytest.raises(LabError, match="exit code 7"):
        host.run(["sh", "-c", "exit 7"], 10)


def test_a_missing_program_names_the_package():
    with pytest.raises(LabError, match="apt-get install no-such-program"):
        host.run(["no-such-program"], 10)
    assert host.package_of("ab") == "apache2-utils"


def test_a_command_that_does_not_end_is_killed_with_its_children():
    begin = time.monotonic()
    with pytest.raises(LabError, match=r"did not end within 0\.2 s"):
        host.run(["sh", "-c", "sleep 60 & sleep 60"], 0.2)
    assert time.monotonic() - begin < 5


def test_programs_outside_a_plain_users_path_are_found(monkeypatch, tmp_path):
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    assert host.find("only-here") is None
    monkeypatch.setattr("lab.host.processes.SEARCH_PATH", str(tmp_path))
    assert host.find("only-here") == str(program)


def test_root_is_required_in_one_line(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabError, match=r"^`lab up` needs root: run it with sudo$"):
        host.require_root("`lab up`")


# --- ports


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_is_kept_and_a_taken_one_is_stepped_over(taken_port):
    found = host.free_port("127.0.0.1", taken_port)
    assert taken_port < found <= taken_port + 200
    assert host.free_port("127.0.0.1", found) == found


def test_our_own_port_is_as_good_as_free(taken_port):
    assert host.free_port("127.0.0.1", taken_port, mine=True) == taken_port


def test_a_server_on_all_addresses_takes_the_port():
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not host.port_is_free("127.0.0.1", server.getsockname()[1])


def test_ports_to_avoid_are_stepped_over(taken_port):
    free = host.free_port("127.0.0.1", taken_port)
    assert host.free_port("127.0.0.1", free, avoid=(free,)) > free


def test_an_address_of_another_host_is_one_line():
    with pytest.raises(LabError, match=r"198\.51\.100\.1 is no address of this host"):
        host.port_is_free("198.51.100.1", 8080)
