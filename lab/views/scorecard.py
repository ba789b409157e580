"""The table of `lab compare`, in the terminal and as a page. Pure."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab.views import words

Row = Mapping[str, Any]


def _number(value: float | None) -> str:
    return words.UNKNOWN if value is None else f"{value:.1f}"


def _factor(value: float | None) -> str:
    return f"{value:.2f}" if value else words.UNKNOWN


WIDE = 110
NARROW = {"slo_violation_s", "failed", "p95_ms", "container_seconds", "theta_u", "theta_o", "flaps"}
BOUNDS = {"oracle": -1, "none": 1}
"""Where the two bounds stand in the order."""

COLUMNS: tuple[tuple[str, str, Callable[[Any], str], str], ...] = (
    (
        "SLO s",
        "slo_violation_s",
        _number,
        "seconds with p95 above the SLO, or with failures",
    ),
    ("failed", "failed", lambda value: words.UNKNOWN if value is None else str(value), "requests"),
    ("p95", "p95_ms", words.milliseconds, "of the whole run"),
    ("cont. s", "container_seconds", lambda value: f"{value:.0f}", "seconds of running containers"),
    ("θ_U", "theta_u", _number, "% of the demand that was missing, on average"),
    ("θ_O", "theta_o", _number, "% of the demand that was too much, on average"),
    ("τ_U", "tau_u", _number, "% of the time with too few"),
    ("τ_O", "tau_o", _number, "% of the time with too many"),
    ("υ", "instability", _number, "% of the time in which supply and demand moved apart"),
    ("flaps", "flaps", str, "turns of direction within 60 s"),
    ("η", "eta", _factor, "elastic speed-up against no scaling; more is better"),
)


def table(rows: Iterable[Row], slo_ms: float, width: int) -> RenderableType:
    """One table for each scenario; `rows` are those of `lab.compare.Card`.

    A terminal of less than WIDE characters gets the columns that matter most.
    """
    columns = COLUMNS if width >= WIDE else tuple(c for c in COLUMNS if c[1] in NARROW)
    tables: list[RenderableType] = []
    for scenario, cards in groupby(rows, key=lambda row: row["scenario"]):
        made = Table(title=scenario, title_justify="left", title_style="bold", box=None)
        made.add_column("policy", no_wrap=True)
        for title, *_ in columns:
            made.add_column(title, justify="right", no_wrap=True)
        for card in _ordered(list(cards)):
            style = "dim" if card["policy"] in BOUNDS else ""
            cells = [Text(form(card[key])) for _, key, form, _ in columns]
            made.add_row(Text(card["policy"]), *cells, style=style)
        tables += [made, Text()]
    return Group(*tables, Text(f"SLO: p95 of 5 s at most {slo_ms:g} ms; best first", "dim"))


def page(rows: Iterable[Row], slo_ms: float) -> str:
    """The same as one HTML page that needs nothing else."""
    parts = [_HEAD, f"<p>SLO: the 95th percentile of 5 s is at most {slo_ms:g} ms. Best first.</p>"]
    for scenario, cards in groupby(rows, key=lambda row: row["scenario"]):
        titles = "".join(f"<th>{title}</th>" for title, *_ in COLUMNS)
        parts.append(f"<h2>{html.escape(scenario)}</h2><table><tr><th>policy</th>{titles}</tr>")
        parts += [_page_row(card) for card in _ordered(list(cards))]
        parts.append("</table>")
    legend = "".join(f"<dt>{title}</dt><dd>{html.escape(why)}</dd>" for title, _, _, why in COLUMNS)
    return "\n".join([*parts, f"<dl>{legend}</dl>"])


def _page_row(card: Row) -> str:
    cells = "".join(f"<td>{html.escape(form(card[key]))}</td>" for _, key, form, _ in COLUMNS)
    bound = ' class="bound"' if card["policy"] in BOUNDS else ""
    return f"<tr{bound}><th>{html.escape(card['policy'])}</th>{cells}</tr>"


def _ordered(cards: Sequence[Row]) -> list[Row]:
    """Fewest seconds of violation first, then the fewest container-seconds; the bounds around."""
    return sorted(
        cards,
        key=lambda card: (
            BOUNDS.get(card["policy"], 0),
            card["slo_violation_s"],
            card["container_seconds"],
        ),
    )


_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Policies compared</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #8884 }
th:first-child { text-align: left } .bound { opacity: .6; font-style: italic }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; margin-top: 2rem }
dd { margin: 0 } @media (prefers-color-scheme: dark) { body { background: #111; color: #ddd } }
</style>
<h1>Policies compared</h1>
<p>Each policy in the simulator, with the same load and the same seed. <i>oracle</i> knows the load
that is to come, <i>none</i> never scales.</p>"""
