"""The live view's picture: a state in, `height` lines of `width` cells out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from lab.core.model import Metrics
from lab.views import chart, slots, words
from lab.views.changes import Event, Kind
from lab.views.state import Sample, ViewState

SIDE_BY_SIDE = 110
"""From this width on the events stand beside the charts."""
ROOMY = 28
"""From this height on blank lines part the sections."""
GUTTER = 16
AT_LEAST_S = 60.0
SILENT_S = 3.0

SERVING, SHORT, DEMAND, THROUGHPUT, LATENCY = "#2dbd8c", "#e69f00", "#56b4e9", "#a99cf0", "#dd8ab8"
BAD = "bold #e0533d"
MARKS = {
    Kind.START: ("•", "dim"),
    Kind.DECISION: ("»", "bold"),
    Kind.DONE: ("✓", SERVING),
    Kind.FAILED: ("✗", BAD),
    Kind.BROKEN: ("✗", BAD),
    Kind.ERRORS: ("!", BAD),
    Kind.OPERATOR: ("*", "bold"),
    Kind.UNKNOWN: ("?", BAD),
}


def render(state: ViewState, width: int, height: int) -> Text:
    """The whole view in exactly `height` lines, none of them longer than `width` cells."""
    blank = [Text()] if height >= ROOMY else []
    lines = [_title(state, width)]
    if state.progress is not None:
        lines.append(_progress_bar(state, width))
    if state.observation is None:
        lines.append(Text("waiting for the scaler's first word", "dim"))
        return _fit(lines, width, height)
    seen = state.observation
    lines += [*blank, *slots.tiles(seen.slots, width), *slots.counts(seen.slots, width), *blank]
    lines += [*_numbers(state, width), *blank]
    sentence = _sentence(state, width)
    rows = height - len(lines) - len(sentence) - len(blank)
    lines += [*_body(state, width, rows, blank), *blank, *sentence]
    return _fit(lines, width, height)


def _fit(lines: Sequence[Text], width: int, height: int) -> Text:
    shown = [*lines[:height], *[Text()] * (height - len(lines))]
    for line in shown:
        line.truncate(width, overflow="ellipsis")
    whole = Text("\n", no_wrap=True, overflow="crop", end="").join(shown)
    whole.no_wrap, whole.overflow = True, "crop"
    return whole


def _title(state: ViewState, width: int) -> Text:
    line = Text().append(f" {state.lab} ", "bold reverse")
    for what, name in (("world", state.world), ("policy", state.policy), ("", state.scenario)):
        if name:
            line.append(f" {what}" if what else "", "dim").append(f" {name} ")
    for flag in _flags(state):
        line.append(" ").append(f" {flag} ", "#000000 on #f0e442")
    elapsed = words.clock(state.elapsed_s)
    line.truncate(width - len(elapsed) - 1, overflow="ellipsis", pad=True)
    return line.append(f" {elapsed}", "bold")


def _flags(state: ViewState) -> list[str]:
    flags = []
    if state.silent_s >= SILENT_S:
        flags.append(f"NO WORD FOR {words.seconds(state.silent_s)}")
    if state.observation is not None:
        operator = state.observation.operator
        if operator.paused:
            flags.append("PAUSED")
        if operator.pin is not None:
            left = operator.pin_left_s
            flags.append(f"PINNED TO {operator.pin}" + (f" FOR {left:.0f} s" if left else ""))
    return flags


def _progress_bar(state: ViewState, width: int) -> Text:
    progress = state.progress
    assert progress is not None
    said = f" {words.clock(progress.done_s)}"
    share = 0.0
    if progress.total_s:
        share = min(max(progress.done_s / progress.total_s, 0.0), 1.0)
        said += f" of {words.clock(progress.total_s)}"
    if progress.users is not None:
        said += f"  {words.plural(progress.users, 'user')}"
    bar = max(width - 5 - max(len(said), 24), 10)
    done = round(share * bar)
    line = Text().append("load ", "dim")
    line.append("━" * done, SERVING).append("─" * (bar - done), "dim")
    return line.append(said)


@dataclass(frozen=True)
class Number:
    label: str
    value: str
    style: str = "bold"


def _numbers(state: ViewState, width: int) -> tuple[Text, Text]:
    """Two lines: what is counted, and below each name its value."""
    assert state.observation is not None
    seen, metrics = state.observation, state.observation.metrics
    numbers = [
        Number("serving", str(seen.serving)),
        Number("wanted", words.count(state.wanted)),
        *_measured(metrics),
    ]
    cell = min(max(width // len(numbers), 8), 12)
    extra = 1 if cell == 8 else 0
    labels, values = Text(), Text()
    for number in numbers:
        place = max(cell, len(number.label) + 1 + extra)
        if labels.cell_len + place > width:
            break
        labels.append(number.label.rjust(place), "dim")
        values.append(number.value.rjust(place), number.style)
    return labels, values


def _measured(metrics: Metrics) -> list[Number]:
    failing = bool(metrics.errors_per_s)
    return [
        Number("in flight", words.count(metrics.in_flight)),
        Number("queued", words.count(metrics.queued)),
        Number("req/s", words.rate(metrics.requests_per_s)),
        Number("errors/s", words.rate(metrics.errors_per_s), BAD if failing else "bold"),
        Number("p50", words.milliseconds(metrics.p50_ms)),
        Number("p95", words.milliseconds(metrics.p95_ms)),
        Number("p99", words.milliseconds(metrics.p99_ms)),
    ]


def _body(state: ViewState, width: int, rows: int, blank: list[Text]) -> list[Text]:
    if rows <= 0:
        return []
    if width >= SIDE_BY_SIDE:
        left_width = width * 3 // 5
        left = _charts(state, left_width, rows)
        right = _events(state, width - left_width - 3, rows, wrap=True)
        return [_beside(a, b, left_width) for a, b in zip(left, right, strict=True)]
    event_rows = min(max(rows * 2 // 5, 3), 8, rows)
    chart_rows = rows - event_rows - len(blank)
    if chart_rows < 4:
        return _events(state, width, rows)
    return [*_charts(state, width, chart_rows), *blank, *_events(state, width, event_rows)]


def _beside(left: Text, right: Text, left_width: int) -> Text:
    left = left.copy()
    left.truncate(left_width, pad=True)
    return left.append("   ").append_text(right)


def _charts(state: ViewState, width: int, rows: int) -> list[Text]:
    """Servers on top, then demand, requests a second and p95, over one time axis."""
    lines_each = 2 if rows >= 14 else 1
    small = min(3, (rows - 3) // lines_each)
    slot_count = len(state.observation.slots) if state.observation is not None else 0
    top_servers = _servers_top(state.samples, slot_count)
    server_rows = rows - 1 - small * lines_each
    # Whole lines a server where there is room: steps of equal height are easier to count.
    server_rows -= server_rows % top_servers if server_rows > top_servers else 0
    plot = width - GUTTER - 1
    start_s, end_s = _span(state)
    label = Text(" " * (GUTTER + 1)).append(chart.axis(start_s, end_s, plot), "dim")
    lines = [*_server_chart(state, plot, server_rows, top_servers), label]
    samples = state.samples
    for name, unit, style, points in (
        ("demand", "", DEMAND, [(s.at_s, s.demand) for s in samples]),
        ("req/s", "", THROUGHPUT, [(s.at_s, s.requests_per_s) for s in samples]),
        ("p95", "ms", LATENCY, [(s.at_s, s.p95_ms) for s in samples]),
    )[:small]:
        values = chart.columns(points, start_s, end_s, plot)
        known = [value for value in values if value is not None]
        top = words.milliseconds(max(known, default=None)) if unit else _top(known)
        # The highest bar stays an eighth below its line, so that charts do not run into each other.
        scale = (max(known, default=1.0) or 1.0) * lines_each * 8 / (lines_each * 8 - 1)
        drawn = chart.bars(values, scale, lines_each)
        for row, bar in enumerate(drawn):
            lines.append(
                _gutter(name if row == 0 else "", top if row == 0 else "").append(bar, style)
            )
    return [*lines, *[Text()] * (rows - len(lines))]


def _top(known: Sequence[float]) -> str:
    return words.count(max(known, default=None))


def _span(state: ViewState) -> tuple[float, float]:
    """The time that the charts show: a scenario from end to end, otherwise what is kept."""
    start_s = state.samples[0].at_s if state.samples else 0.0
    if state.progress is not None and state.progress.total_s:
        return start_s, max(state.elapsed_s, state.progress.began_s + state.progress.total_s)
    return start_s, max(state.elapsed_s, start_s + AT_LEAST_S)


def _server_chart(state: ViewState, plot: int, rows: int, top: int) -> list[Text]:
    start_s, end_s = _span(state)

    def over_time(points: list[tuple[float, float | None]]) -> list[float | None]:
        return chart.columns(points, start_s, end_s, plot)

    serving = over_time([(sample.at_s, sample.serving) for sample in state.samples])
    wanted = over_time([(sample.at_s, sample.wanted) for sample in state.samples])
    lines = []
    for row, bar in enumerate(chart.servers(serving, wanted, top, rows, SERVING, SHORT)):
        name = {0: "servers", 1: f"{chart.WANTED} wanted"}.get(row, "")
        gutter = _gutter(name, str(top) if row == 0 else "")
        lines.append(gutter.append_text(bar))
    return lines


def _servers_top(samples: Sequence[Sample], slot_count: int) -> int:
    """A scale that stays: all slots while they are few, else the peak with some air."""
    peak = max((max(sample.serving, sample.wanted) for sample in samples), default=1)
    return slot_count if 0 < slot_count <= 16 else max(peak * 5 // 4, 4)


def _gutter(name: str, top: str) -> Text:
    return Text().append(f"{name:<8}", "dim").append(f"{top:>7} ").append("│", "dim")


def _events(state: ViewState, width: int, rows: int, wrap: bool = False) -> list[Text]:
    """The last events that fit, the newest at the bottom."""
    lines: list[Text] = []
    for event in reversed(state.events):
        block = _event(event, width, 3 if wrap else 1)
        if len(lines) + len(block) > rows:
            break
        lines = [*block, *lines]
    return [*lines, *[Text()] * (rows - len(lines))]


def _event(event: Event, width: int, max_lines: int) -> list[Text]:
    mark, style = MARKS[event.kind]
    head = Text().append(f"{words.clock(event.at_s, tenths=True):>7} ", "dim")
    head.append(f"{mark} ", style)
    bad = event.kind in (Kind.FAILED, Kind.BROKEN, Kind.ERRORS)
    said = f"{event.kind.lower()}: {event.text}" if bad else event.text
    text = _wrapped(Text(said, BAD if bad else ""), width - head.cell_len, max_lines)
    indent = " " * head.cell_len
    return [head.append_text(text[0]), *(Text(indent).append_text(more) for more in text[1:])]


def _sentence(state: ViewState, width: int) -> list[Text]:
    head = Text().append("scaler  ", "bold")
    text = _wrapped(Text(state.sentence), width - head.cell_len, 2)
    indent = " " * head.cell_len
    return [head.append_text(text[0]), Text(indent).append_text(text[1]) if text[1:] else Text()]


def _wrapped(text: Text, width: int, max_lines: int) -> list[Text]:
    """The text in at most `max_lines` lines; what does not fit ends in an ellipsis."""
    room = max(width, 10)
    parts = list(text.wrap(Console(width=room), room)) or [Text()]
    for part in parts:
        part.rstrip()
    if len(parts) <= max_lines:
        return parts
    rest = Text(" ").join(parts[max_lines - 1 :])
    rest.truncate(room, overflow="ellipsis")
    return [*parts[: max_lines - 1], rest]
