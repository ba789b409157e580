"""The live view as an SVG file, for the README: `svg(read_trace(path), Path("docs/demo.svg"))`."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from lab.views.chart import EIGHTHS
from lab.views.screen import render
from lab.views.state import ViewState, fold, with_progress

FOREGROUND = (230, 237, 243)
DARK = TerminalTheme(
    (13, 17, 23),
    FOREGROUND,
    [(0, 0, 0), (224, 83, 61), (45, 189, 140), (240, 228, 66), (86, 180, 233), (221, 138, 184),
     (86, 180, 233), FOREGROUND],
)  # fmt: skip
CELL_HEIGHT, ASCENT = 24.4, 20.0
"""Of rich's SVG format: the height of a line, and of its baseline below its top, in px."""


def svg(
    lines: Iterable[dict[str, Any]],
    path: Path,
    lab: str = "lab",
    world: str = "lxd",
    scenario: str = "",
    total_s: float | None = None,
    until_s: float | None = None,
    width: int = 100,
    height: int = 30,
) -> None:
    """Write the view's picture after the trace lines of a run as an SVG file.

    `until_s` stops at that many seconds from the first line; `total_s` is the scenario's length.
    """
    state = ViewState(lab=lab, world=world, scenario=scenario)
    for line in lines:
        after = fold(state, line)
        if until_s is not None and after.elapsed_s > until_s:
            break
        state = after
        if total_s is not None:
            state = with_progress(state, min(state.elapsed_s, total_s), total_s)
    console = Console(
        record=True,
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(render(state, width, height))
    picture = console.export_svg(title=f"{lab} demo", theme=DARK, unique_id="lab")
    path.write_text(_bars_as_rectangles(picture), encoding="utf-8")


def _bars_as_rectangles(picture: str) -> str:
    """Draw block characters as shapes: fonts leave gaps between them, each font its own."""
    bar = re.compile(
        r'<text class="([^"]+)" x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"[^>]*>'
        rf"((?:[{EIGHTHS[1:]}]|&#160;)*[{EIGHTHS[1:]}](?:[{EIGHTHS[1:]}]|&#160;)*)</text>"
    )
    return bar.sub(_rectangles, picture)


def _rectangles(match: re.Match[str]) -> str:
    style, x, y, length = match[1], float(match[2]), float(match[3]), float(match[4])
    cells = match[5].replace("&#160;", " ")
    cell_width = length / len(cells)
    bottom = y - ASCENT + CELL_HEIGHT
    shapes = []
    for cell, run in groupby(cells):
        run_width = len(list(run)) * cell_width
        tall = EIGHTHS.index(cell) / 8 * CELL_HEIGHT
        if tall:
            shapes.append(
                f'<rect class="{style}" x="{x:.1f}" y="{bottom - tall:.2f}" '
                f'width="{run_width:.1f}" height="{tall:.2f}" shape-rendering="crispEdges"/>'
            )
        x += run_width
    return "".join(shapes)
