"""Charts of characters: bars in eighths of a cell, and the time axis below them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from rich.text import Text

from lab.views import words

EIGHTHS = " ▁▂▃▄▅▆▇█"
NOT_MEASURED = "·"
WANTED = "░"
STEPS_S = (5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


def columns(
    points: Sequence[tuple[float, float | None]], start_s: float, end_s: float, width: int
) -> list[float | None]:
    """The highest value in each of `width` equal spans of time; the list ends where time is now.

    A span without a point holds what the one before it did. None: not measured.
    """
    spans: list[list[float | None]] = [[] for _ in range(width)]
    span_s = max(end_s - start_s, 1e-9) / width
    last = -1
    for at_s, value in points:
        if start_s <= at_s <= end_s:
            last = min(int((at_s - start_s) / span_s), width - 1)
            spans[last].append(value)
    found: list[float | None] = []
    for values in spans[: last + 1]:
        measured = [value for value in values if value is not None]
        carried = found[-1] if found and not values else None
        found.append(max(measured) if measured else carried)
    return found


def bars(values: Sequence[float | None], top: float, rows: int) -> list[str]:
    """`rows` lines of bars, the upper line first, for values from 0 to `top`."""
    return ["".join(_cell(value, top, rows, row) for value in values) for row in _downward(rows)]


def servers(
    serving: Sequence[float | None],
    wanted: Sequence[float | None],
    top: float,
    rows: int,
    serving_style: str,
    wanted_style: str,
) -> list[Text]:
    """Bars of the servers that serve, and above them shaded those that are wanted but do not."""
    lines = []
    for row in _downward(rows):
        cells: list[tuple[str, str]] = []
        for has, wants in zip(serving, wanted, strict=True):
            cell = _cell(has or 0.0, top, rows, row, floor=False)
            short = cell == " " and ((wants or 0.0) / top * rows - row) >= 0.5
            cells.append((wanted_style, WANTED) if short else (serving_style, cell))
        runs = groupby(cells, key=lambda cell: cell[0])
        lines.append(Text.assemble(*(("".join(c for _, c in run), style) for style, run in runs)))
    return lines


def axis(start_s: float, end_s: float, width: int) -> str:
    """The times below a chart of `width` columns, such as `0:00      0:30      1:00`."""
    span_s = max(end_s - start_s, 1e-9)
    step_s = next((s for s in STEPS_S if s / span_s * width >= 10), STEPS_S[-1])
    line = [" "] * width
    mark_s = math.ceil(start_s / step_s) * step_s
    while mark_s <= end_s:
        label = words.clock(mark_s)
        column = int((mark_s - start_s) / span_s * width)
        if column + len(label) <= width:
            line[column : column + len(label)] = label
        mark_s += step_s
    return "".join(line)


def _downward(rows: int) -> range:
    return range(rows - 1, -1, -1)


def _cell(value: float | None, top: float, rows: int, row: int, floor: bool = True) -> str:
    """The character of one column in one row; row 0 is the lowest."""
    if value is None:
        return NOT_MEASURED if row == 0 else " "
    eighths = math.ceil(value / top * rows * 8 - 1e-9) - row * 8
    if row == 0 and floor:
        # A measured zero keeps a line at the bottom: an empty cell means that nothing is known yet.
        eighths = max(eighths, 1)
    return EIGHTHS[min(max(eighths, 0), 8)]
