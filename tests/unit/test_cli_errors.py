"""A person's mistake is one line that says what is wrong and what would be right, and a code."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lab import host
from lab.errors import LabError


@pytest.fixture
def lab(tmp_path):
    def run(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "lab", "--set", f"lab.state_dir={tmp_path}/state", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **environment},
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


def complaint(done, code):
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("lab: ")
    return lines[0]


@pytest.mark.parametrize("command", ["status", "logs", "run"])
def test_a_lab_that_is_not_up(lab, command):
    assert "is not up: start it with `lab up`" in complaint(lab(command), 1)


def test_lxd_missing(lab, tmp_path):
    done = lab("template", "show", LXD_DIR=str(tmp_path))
    assert "LXD does not answer: ./lab.sh installs and starts it" in complaint(done, 1)


def test_an_unknown_command(lab):
    assert "No such command 'upp'" in complaint(lab("upp"), 2)


def test_a_missing_argument(lab):
    assert "Missing argument" in complaint(lab("pin"), 2)


def test_a_number_that_is_none(lab):
    assert "'servers': not a whole number" in complaint(lab("scale", "many"), 2)


def test_a_bad_settings_file(lab, tmp_path):
    (tmp_path / "lab.toml").write_text("[pool]\nmaxx = 3\n")
    said = complaint(lab("status"), 2)
    assert "lab.toml:2" in said
    assert "did you mean pool.max?" in said


def test_a_settings_file_that_is_not_there(lab):
    assert "nowhere.toml" in complaint(lab("--settings", "nowhere.toml", "status"), 2)


def test_an_unknown_scenario_is_named_before_anything_is_brought_up(lab, tmp_path):
    assert "spikee" in complaint(lab("demo", "spikee"), 2)
    assert not (tmp_path / "state").exists()


def test_arguments_after_a_scenario(lab):
    assert "only `lab load ab` takes more" in complaint(lab("load", "demo", "-n", "3"), 2)


def test_load_without_a_name_lists_the_scenarios(lab):
    done = lab("load")
    assert done.returncode == 0
    assert "demo" in done.stdout
    assert "spike" in done.stdout


def test_not_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="`lab up` needs root: run it with sudo"):
        host.require_root("`lab up`")


def test_settings_say_where_each_came_from(lab, tmp_path):
    (tmp_path / "lab.toml").write_text("[pool]\nmax = 3\n")
    done = lab("--set", "pool.min=2", "settings")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["pool.max", "3", "lab.toml:2"] in rows
    assert ["pool.min", "2", "--set"] in rows
    assert ["server.workers", "4", "default"] in rows
