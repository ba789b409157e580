"""`lab sim` and `lab compare`, without any server."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def lab(tmp_path):
    def run(*arguments, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "lab", "--set", f"lab.state_dir={tmp_path}/state", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "COLUMNS": "120"},
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout

    return run


def test_sim_leaves_the_folder_of_a_run_and_the_same_seed_the_same_trace(lab, tmp_path):
    first, second = (json.loads(lab("sim", "demo", "--json")) for _ in range(2))
    assert first == second
    assert (first["world"], first["passed"], first["failed"]) == ("sim", True, 0)
    assert first["peak_servers"] >= 6
    traces = [path.read_bytes() for path in sorted(tmp_path.glob("runs/*-demo*/trace.jsonl"))]
    assert len(traces) == 2
    assert traces[0] == traces[1]


def test_sim_runs_the_policy_that_is_named_and_fails_when_it_does_not_hold(lab):
    report = json.loads(lab("sim", "demo", "--policy", "none", "--json", code=1))
    assert (report["policy"], report["peak_servers"], report["passed"]) == ("pinned", 1, False)
    assert "did you mean sessions?" not in lab("sim", "demo", "--policy", "lab")


def test_compare_puts_the_oracle_above_and_none_below(lab, tmp_path):
    rows = json.loads(lab("compare", "--policies", "sessions,lab", "--scenarios", "demo", "--json"))
    by_policy = {row["policy"]: row for row in rows}
    assert set(by_policy) == {"sessions", "lab", "oracle", "none"}
    assert by_policy["oracle"]["slo_violation_s"] <= by_policy["sessions"]["slo_violation_s"]
    assert by_policy["none"]["slo_violation_s"] > 30
    assert by_policy["oracle"]["container_seconds"] < by_policy["sessions"]["container_seconds"]
    page = (tmp_path / "compare.html").read_text()
    assert "oracle" in page
    assert "http" not in page


def test_an_unknown_policy_is_refused_with_the_nearest(lab):
    lab("compare", "--policies", "sesions", code=2)
    lab("policy", "show", "hpaa", code=2)


def test_every_policy_is_listed_and_explains_itself(lab):
    names = json.loads(lab("policy", "list", "--json"))["policies"]
    assert {"sessions", "lab", "hpa", "kpa", "latency", "nomad-target", "schedule"} <= set(names)
    for name in ("hpa", "lab", "sessions"):
        assert name in lab("policy", "show", name)


def test_validate_tells_how_far_two_runs_are_apart(lab, tmp_path):
    lab("sim", "demo")
    (run,) = tmp_path.glob("runs/*-demo")
    same = json.loads(lab("validate", str(run), "--json"))
    assert (same["mean_difference"], same["p95_difference"], same["agrees"]) == (0.0, 0.0, True)
    verdict = json.loads((run / "verdict.json").read_text())
    (run / "verdict.json").write_text(json.dumps(verdict | {"peak_servers": 3, "p95_ms": 100.0}))
    other = json.loads(lab("validate", str(run), "--json", code=1))
    assert (other["live_peak"], other["agrees"]) == (3, False)
    (run / "settings.json").unlink()
    lab("validate", str(run), code=2)
