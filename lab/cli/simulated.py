"""The commands that need no server: `sim` and `compare`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lab import compare as comparison
from lab import simulation
from lab import validate as fidelity
from lab.cli.base import Json, err, out, settings_of, show
from lab.cli.policy import known
from lab.core.policies.registry import BY_NAME
from lab.load.scenario import list_scenarios, load_scenario
from lab.views import scorecard, tables
from lab.views.screen import render
from lab.views.state import ViewState, fold
from lab.views.steps import Steps

DEFAULT_SLO_MS = 500.0
CHART_HEIGHT = 24
NEED_WORDS = ("pinned", "schedule")
"""Policies that say nothing before they are told a number or a time: left out of `compare`."""


def sim(
    context: typer.Context,
    scenario: Annotated[str, typer.Argument(help="A scenario's name or file.")] = "demo",
    policy: Annotated[str, typer.Option(help="Which one steers [policy.steer].")] = "",
    seed: Annotated[int, typer.Option(help="The same seed gives the same run.")] = 1,
    coarse: Annotated[
        bool, typer.Option("--coarse", help="Without single requests: for days and many servers.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a scenario in the simulator: verdict, picture, and the folder of a run."""
    settings = settings_of(context)
    chosen = load_scenario(scenario)
    name = policy or settings.policy.steer
    if name not in (comparison.NONE, comparison.ORACLE):
        known(name)
    given = comparison.parameters(settings)
    setup = simulation.Setup(given, seed, settings.scaler.interval_s, coarse=coarse)
    brain = comparison.brain(settings, name, chosen, given)
    with Steps(err) as steps:
        steps(f"simulating {chosen.name}")
        folder, verdict = simulation.simulate_into(
            settings.lab.runs_dir,
            chosen,
            brain,
            setup,
            extra_files={"settings.json": json.dumps(settings.model_dump(mode="json"), indent=2)},
        )
    report = json.loads(verdict.to_json())
    if not as_json:
        out.print(_picture(folder, settings.lab.name, chosen.name))
    show(report, as_json, tables.verdict(report))
    if not as_json:
        out.print(f"run folder: {folder}")
    if not verdict.passed:
        raise typer.Exit(1)


def compare(
    context: typer.Context,
    policies: Annotated[str, typer.Option(help="Names with commas between [all].")] = "",
    scenarios: Annotated[str, typer.Option(help="Names with commas between [all].")] = "",
    slo_ms: Annotated[float, typer.Option(min=1, help="The 95th percentile to keep.")] = (
        DEFAULT_SLO_MS
    ),
    seed: int = 1,
    page: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("compare.html"),
    as_json: Json = False,
) -> None:
    """Simulate all policies in all scenarios: a score card, and the same as a page."""
    names = _names(policies) or [name for name in BY_NAME if name not in NEED_WORDS]
    for name in names:
        known(name)
    chosen = _names(scenarios) or list(list_scenarios())
    for scenario in chosen:
        load_scenario(scenario)
    with Steps(err) as steps:
        steps(f"{len(names)} policies and 2 bounds in {len(chosen)} scenarios")
        cards = comparison.compare(settings_of(context), names, chosen, slo_ms, seed, steps.count)
    rows = [asdict(card) for card in cards]
    page.write_text(scorecard.page(rows, slo_ms), encoding="utf-8")
    show(rows, as_json, scorecard.table(rows, slo_ms, out.width))
    if not as_json:
        out.print(f"page: {page}")


def validate(context: typer.Context, run: Path, as_json: Json = False) -> None:
    """Simulate what was run live, and tell how far the two are apart."""
    found = fidelity.validate(run)
    report = asdict(found)
    show(report, as_json, tables.settings((key, value, "") for key, value in report.items()))
    if not found.agrees:
        raise typer.Exit(1)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _picture(folder: Path, lab: str, scenario: str) -> object:
    state = ViewState(lab=lab, world="sim", scenario=scenario)
    with (folder / "trace.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            state = fold(state, json.loads(line))
    return render(state, min(out.width, 120), CHART_HEIGHT)
