"""One decision, from what was seen to what was done. Pure: a line of the trace in, text out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab.views import words


def explain(line: Mapping[str, Any]) -> RenderableType:
    """The decision of a trace line (see `lab.trace`), in the order in which it was made."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(ratio=1)
    rows.add_row("tick", Text(f"{line['tick']}, {line['at']}, {line['tick_ms']} ms"))
    rows.add_row("seen", _seen(line["observation"]))
    rows.add_row(f"{line['policy']} says", Text(line["recommendation"]["formula"]))
    for note in line["guards"]:
        text = f"{note['before']} → {note['after']}: {note['why']}"
        rows.add_row(f"{note['guard']} bounds", Text(text))
    rows.add_row("wanted", Text(words.plural(line["wanted"], "server"), "bold"))
    for action in line["actions"]:
        rows.add_row(action["verb"], Text(f"slot {action['slot']}: {action['why']}"))
    if not line["actions"]:
        rows.add_row("done", Text("nothing"))
    for outcome in line["outcomes"]:
        rows.add_row("ended before", Text(_outcome(outcome)))
    for shadow in line["shadows"]:
        rows.add_row(f"{shadow['policy']} would", _shadow(shadow))
    return Group(rows, Text(), Text(line["sentence"], "bold"))


def _seen(observation: Mapping[str, Any]) -> Text:
    metrics = observation["metrics"]
    phases = Counter(slot["phase"] for slot in observation["slots"])
    servers = ", ".join(f"{count} {phase}" for phase, count in phases.items())
    text = Text(
        f"{words.count(metrics['in_flight'])} in flight, {words.count(metrics['queued'])} queued, "
        f"{words.rate(metrics['requests_per_s'])} requests/s, "
        f"p95 {words.milliseconds(metrics['p95_ms'])}\nslots: {servers}"
    )
    if observation["unknown"]:
        text.append(f"\n{observation['unknown']}", "bold red")
    return text


def _outcome(outcome: Mapping[str, Any]) -> str:
    action = outcome["action"]
    steps = ", ".join(f"{step} {took_s * 1000:.0f} ms" for step, took_s in outcome["steps"])
    ended = outcome["error"] or f"took {words.seconds(outcome['took_s'])}"
    return f"{action['verb']} {action['slot']}: {ended} ({steps})"


def _shadow(shadow: Mapping[str, Any]) -> Text:
    text = Text(f"want {words.plural(shadow['wanted'], 'server')}: ")
    text.append(shadow["recommendation"]["formula"])
    for note in shadow["guards"]:
        text.append(f"; {note['guard']} makes it {note['after']} ({note['why']})")
    return text
