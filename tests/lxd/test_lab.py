"""The lab on real LXD and real HAProxy, through its command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.lxd.client import Lxd
from lab.lxd.names import TEMPLATE, container_name
from support.lxd_lab import LxdLab, left_behind
from support.stage import get

SMALL_LOAD = ("load", "ab", "-n", "20000", "-c", "100", "-k")


@pytest.fixture
def up(lxd_lab: LxdLab):
    lxd_lab.run("up")
    yield lxd_lab
    lxd_lab.run("down")


def wait(true: Callable[[], bool], patience_s: float = 30) -> None:
    until = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < until
        time.sleep(0.1)


def haproxy_pid(lab: LxdLab) -> int:
    return int((lab.settings.directory / "haproxy.pid").read_text())


def decisions(lab: LxdLab) -> str:
    return (lab.settings.directory / "scaler.log").read_text()


def scaler_pid(lab: LxdLab) -> int:
    return lab.status()["scaler"]["pid"]


def converged(lab: LxdLab, serving: int) -> bool:
    slots = lab.status()["slots"]
    phases = [slot["phase"] for slot in slots]
    return (
        phases.count("serving") == serving
        and set(phases) <= {"serving", "stopped", "empty"}
        and not any(slot["doing"] or slot["fault"] for slot in slots)
    )


def test_up_can_be_repeated_and_changes_nothing(up):
    pids = haproxy_pid(up), scaler_pid(up)
    said = up.run("up")
    assert "the lab serves at" in said
    assert (haproxy_pid(up), scaler_pid(up)) == pids


def test_every_server_answers_with_its_own_name_and_the_shared_page(up):
    up.run("scale", "3")
    share = up.settings.share.path
    (share / "index.html").write_text("<p>edited on the host</p>")
    seen = {}
    for _ in range(12):
        status, server, body = get(up.address)
        assert status == 200
        seen[server] = body
    assert set(seen) == {"web-1", "web-2", "web-3"}
    assert all("edited on the host" in body for body in seen.values())
    lxd = Lxd(up.settings.lab.name)
    script = "echo '<p>edited in a clone</p>' >/srv/share/index.html; echo hello >/srv/share/new"
    lxd.execute("web-2", ["sh", "-c", script], 20)
    assert (share / "new").read_text() == "hello\n"
    assert all("edited in a clone" in get(up.address)[2] for _ in range(6))
    # The application's own user may write, too.
    lxd.execute("web-3", ["su", "-s", "/bin/sh", "www-data", "-c", "echo 2 >>/srv/share/new"], 20)
    assert (share / "new").read_text() == "hello\n2\n"
    # What a person changed stays at `down --purge`, which says so.
    (share / "new").unlink()
    (share / "index.html").unlink()


def test_ab_loses_nothing_while_the_pool_is_scaled_up_and_down(up):
    load = up.start(*SMALL_LOAD, "--json")
    time.sleep(1)
    up.run("scale", "6")
    up.run("scale", "1")
    said, errors = load.communicate(timeout=200)
    verdict = json.loads(said)
    assert load.returncode == 0, errors
    assert (verdict["requests"], verdict["failed"]) == (20000, 0)
    assert verdict["peak_servers"] == 6
    wait(lambda: converged(up, 1))


@pytest.mark.parametrize("after_s", [0.05, 0.3, 0.8])
def test_a_scaler_killed_in_the_middle_of_scaling_is_followed_by_one_that_converges(up, after_s):
    before = haproxy_pid(up)
    scaling = up.start("scale", "6", "--hold", "300")
    wait(lambda: up.status()["scaler"]["pin"] == 6)
    time.sleep(after_s)
    os.kill(scaler_pid(up), signal.SIGKILL)
    assert "the scaler does not run" in up.run("scale", "2", code=1)
    scaling.kill()
    scaling.communicate()
    up.run("up")
    wait(lambda: converged(up, 6))
    assert haproxy_pid(up) == before
    up.run("scale", "1")
    wait(lambda: converged(up, 1))


@pytest.mark.parametrize("after_s", [0.6, 0.9, 1.2, 1.8, 2.5])
def test_up_and_down_interrupted_anywhere_converge(lxd_lab, after_s):
    for command in ("up", "down"):
        running = lxd_lab.start(command)
        time.sleep(after_s)
        running.send_signal(signal.SIGKILL)
        running.communicate()
    lxd_lab.run("up")
    wait(lambda: converged(lxd_lab, 1))
    assert get(lxd_lab.address)[0] == 200
    lxd_lab.run("down")


def test_down_leaves_the_template_and_nothing_else(lxd_lab):
    lxd_lab.run("up")
    lxd_lab.run("scale", "2")
    lxd_lab.run("down")
    lxd = Lxd(lxd_lab.settings.lab.name)
    assert [record["name"] for record in lxd.get("instances", recursion=1)] == [TEMPLATE]
    name = lxd_lab.settings.lab.name
    left = left_behind(lxd_lab)
    kept = [f"projects/{name}", f"storage-pools/{name}"]
    kept += [line for line in left if line.startswith("loop device")]
    assert sorted(set(left) - {str(lxd_lab.settings.share.path)}) == sorted(kept)
    assert "is down" in lxd_lab.run("down")


def test_pin_pause_and_resume_are_obeyed_and_shown(up):
    up.run("pin", "2")
    wait(lambda: converged(up, 2))
    up.run("pause")
    up.run("pin", "3")
    time.sleep(1)
    assert converged(up, 2)
    assert "paused" in up.run("status")
    assert "the scaler is paused" in up.run("scale", "3", code=1)
    up.run("resume")
    wait(lambda: converged(up, 3))
    up.run("unpin")
    wait(lambda: converged(up, 1))
    assert "pool.max is 8" in up.run("pin", "9", code=2)


def test_a_clone_that_is_stopped_or_deleted_by_hand_is_replaced(up):
    up.run("scale", "3", "--hold", "300")
    lxd = Lxd(up.settings.lab.name)
    stop = {"action": "stop", "timeout": -1, "force": True}
    lxd.put(f"instances/{container_name(2)}/state", stop)
    wait(lambda: "remove 2 done" in decisions(up))
    wait(lambda: converged(up, 3))
    lxd.put(f"instances/{container_name(3)}/state", stop)
    wait(lambda: "remove 3 done" in decisions(up))
    wait(lambda: converged(up, 3))
    serving = next(slot for slot, phase in up.phases().items() if phase == "serving")
    served = decisions(up).count(" done (")
    lxd.put(f"instances/{container_name(serving)}/state", stop)
    lxd.delete(f"instances/{container_name(serving)}")
    wait(lambda: decisions(up).count(" done (") >= served + 2)
    wait(lambda: converged(up, 3))


def test_a_deleted_template_is_one_clear_line_and_up_makes_it_again(up):
    lxd = Lxd(up.settings.lab.name)
    lxd.delete(f"instances/{TEMPLATE}")
    up.run("pin", "2")
    wait(lambda: any("the template is gone" in s["fault"] for s in up.status()["slots"]))
    assert "lab up" in up.run("status")
    up.run("up")
    wait(lambda: converged(up, 2))


def test_a_taken_port_is_said_and_another_one_is_used(lxd_lab):
    port = lxd_lab.settings.balancer.port
    with socket.create_server(("127.0.0.1", port)):
        said = lxd_lab.run("up")
        assert f"balancer.port {port} is taken by another program: took" in said
        assert lxd_lab.address[1] != port
        assert get(lxd_lab.address)[0] == 200
    lxd_lab.run("down")


def test_a_changed_setting_reloads_haproxy_and_keeps_the_servers(up):
    before = haproxy_pid(up)
    changed = LxdLab((*up.overrides, "balancer.queue_timeout_s=3"), up.folder)
    changed.run("up")
    assert haproxy_pid(up) == before
    assert converged(up, 1)
    assert "timeout queue 3000ms" in (up.settings.directory / "haproxy.cfg").read_text()


def test_the_runtime_socket_and_the_password_are_their_owners_alone(up):
    directory = up.settings.directory
    for name in ("haproxy.sock", "haproxy.cfg", "stats-password"):
        assert (directory / name).stat().st_mode & 0o077 == 0, name


def test_a_scenario_leaves_a_run_folder_and_a_verdict(up):
    scenario = up.folder / "tiny.toml"
    scenario.write_text("""
        about = "One server to three and back, for a test."
        settle_s = 20
        [load]
        kind = "points"
        points = [[0, 2], [2, 10], [8, 10], [9, 1], [10, 1]]
        [requests]
        mix = [{ path = "/work?ms=200", weight = 1 }]
        [envelope]
        expect = [
            { at_least = 3, serving_by_s = 8 },
            { at_most = 1, serving_by_s = 28 },
            { max_failed = 0 },
        ]
    """)
    said = up.run("load", str(scenario))
    assert "PASSED" in said
    folder = Path(said.strip().splitlines()[-1].removeprefix("run folder: "))
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["passed"]
    assert verdict["failed"] == 0
    assert verdict["peak_servers"] == 3
    assert {"theta_u", "tau_o", "instability", "flaps", "container_seconds"} <= set(verdict)
    ticks = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    assert [tick["tick"] for tick in ticks] == list(range(ticks[0]["tick"], ticks[-1]["tick"] + 1))


def test_a_scenario_that_does_not_hold_fails_with_an_exit_code(up):
    scenario = up.folder / "greedy.toml"
    scenario.write_text("""
        about = "Expects what cannot be."
        settle_s = 1
        [load]
        kind = "points"
        points = [[0, 1], [3, 1]]
        [requests]
        mix = [{ path = "/", weight = 1 }]
        [envelope]
        expect = [{ peak_at_least = 5 }]
    """)
    said = up.run("load", str(scenario), code=1)
    assert "FAILED" in said


@pytest.fixture
def stranger(lxd_lab: LxdLab):
    """A bridge of somebody else's that has the lab's subnet."""
    address = f"{lxd_lab.settings.network.net[5]}/24"
    for command in (
        ["ip", "link", "add", "strangerbr", "type", "bridge"],
        ["ip", "addr", "add", address, "dev", "strangerbr"],
        ["ip", "link", "set", "strangerbr", "up"],
    ):
        subprocess.run(command, check=True)
    yield
    subprocess.run(["ip", "link", "del", "strangerbr"], check=True)


def test_a_taken_subnet_is_said_and_another_one_is_used(lxd_lab, stranger):
    said = lxd_lab.run("up")
    subnet = lxd_lab.settings.network.subnet
    assert f"the subnet {subnet} is in use on this host: took 10." in said
    assert get(lxd_lab.address)[0] == 200
    assert "is in use on this host: took 10." in lxd_lab.run("up")
    lxd_lab.run("down")
    blocked = subprocess.run(["ip", "route"], capture_output=True, text=True).stdout
    assert "unreachable" not in blocked


def test_a_thing_of_the_same_name_that_is_not_the_labs_is_refused(lxd_lab):
    lxd = Lxd("default")
    other = LxdLab(
        (*[o for o in lxd_lab.overrides if not o.startswith("lab.name")], "lab.name=labother"),
        lxd_lab.folder,
    )
    lxd.post("projects", {"name": "labother", "config": {"features.images": "true"}})
    try:
        said = other.run("up", code=1)
        assert "LXD has project 'labother' already, and it is not this lab's" in said
        other.run("down", "--purge", code=1)
        assert lxd.find("projects/labother") is not None
    finally:
        lxd.delete("projects/labother")
        shutil.rmtree(other.settings.directory)
