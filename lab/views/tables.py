"""What `lab status`, `settings` and `doctor` print, and the verdict of a run. Pure.

Each takes the plain values that `--json` prints and returns something rich can print. Every mark
stands beside a word, so nothing depends on colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.core.model import Phase
from lab.views import words
from lab.views.slots import LOOKS

GOOD, WARNING, BAD = "bold #1fa37a", "bold #c98a00", "bold #e0533d"
MARKS = {"ok": ("✓", GOOD), "warn": ("!", WARNING), "fail": ("✗", BAD)}
STALE_S = 10.0
"""A scaler that ticks several times a second has stopped working if it was silent for this long."""


def status(report: Mapping[str, Any]) -> RenderableType:
    """The lab at a glance. Every key but `lab`, `world` and `slots` may be missing or None.

    - `lab`, `world`: names; `service_url`, `statistics_url`: None if HAProxy is down;
      `statistics_password`: the file that holds it
    - `share`: {`kind`, `path`, `notice`: why it is not what was asked for, or ""}
    - `template`: one line, such as "debian 12, recipe 3f9a12"; None if there is none
    - `scaler`: {`pid`: None if not running, `last_tick_age_s`, `paused`, `pin`, `pin_left_s`,
      `sentence`: the last one}
    - `slots`: [{`number`, `phase`, `for_s`, `sessions`, `queued`, `address`, `doing`, `fault`}]
    """
    facts = _facts()
    facts.add_row(
        "lab", Text().append(str(report["lab"]), "bold").append(f", world {report['world']}")
    )
    facts.add_row("service", _or(report.get("service_url"), "HAProxy is not running: lab up"))
    statistics = _or(report.get("statistics_url"), words.UNKNOWN)
    if report.get("statistics_url") and report.get("statistics_password"):
        statistics.append(f" (user lab, password in {report['statistics_password']})")
    facts.add_row("statistics", statistics)
    facts.add_row("share", _share(report.get("share")))
    facts.add_row("template", _or(report.get("template"), "none yet: lab template build"))
    scaler = report.get("scaler") or {}
    facts.add_row("scaler", _scaler(scaler))
    if scaler.get("pid") and scaler.get("sentence"):
        facts.add_row("", Text(str(scaler["sentence"])))
    return Group(facts, Text(), _slots(report["slots"]))


def verdict(report: Mapping[str, Any]) -> RenderableType:
    """The end of a run: passed or not, each expectation with what was seen, then the numbers.

    `report` is a `verdict.json`; numbers that could not be measured are None.
    """
    expectations: Sequence[Mapping[str, Any]] = report["expectations"]
    failed = sum(not expectation["held"] for expectation in expectations)
    word, style = ("PASSED", GOOD) if report["passed"] else ("FAILED", BAD)
    title = Text().append(f" {word} ", f"{style} reverse").append(f"  {report['scenario']}", "bold")
    title.append(f"  policy {report['policy']}, world {report['world']}", "dim")
    if failed:
        title.append(f"  {failed} of {words.plural(len(expectations), 'expectation')} not met", BAD)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(ratio=3)
    table.add_column(ratio=2)
    for expectation in expectations:
        mark, mark_style = MARKS["ok" if expectation["held"] else "fail"]
        said = "held" if expectation["held"] else "failed"
        seen = Text(f"seen: {expectation['seen']}", "" if expectation["held"] else BAD)
        expected = Text(str(expectation["expected"]))
        table.add_row(Text(f"{mark} {said}", mark_style), expected, seen)
    return Group(title, Text(), table, Text(), _run_numbers(report), Text())


def settings(rows: Iterable[tuple[str, object, str]]) -> RenderableType:
    """The settings in force: (dotted key, value, origin) each; changed ones stand out.

    Without any origin it is a plain list of names and values.
    """
    rows = list(rows)
    if not any(origin for _, _, origin in rows):
        facts = _facts()
        for key, value, _ in rows:
            facts.add_row(key, Text(_toml(value)))
        return facts
    table = _table("setting", "value", "from")
    for key, value, origin in rows:
        style = "dim" if origin == "default" else "bold"
        table.add_row(
            Text(key), Text(_toml(value), "" if style == "dim" else style), Text(origin, style)
        )
    return table


def doctor(checks: Iterable[Mapping[str, Any]]) -> RenderableType:
    """What this host has and lacks.

    Each check: `name`, `status` ("ok", "warn" or "fail"), `detail`, and `remedy`: what to do or
    type about it, "" if there is nothing to do.
    """
    checks = list(checks)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for check in checks:
        mark, style = MARKS[check["status"]]
        detail = Text(str(check["detail"]))
        if check.get("remedy"):
            detail.append("\n→ ", style).append(str(check["remedy"]), "bold")
        name = Text(str(check["name"]))
        table.add_row(Text(f"{mark} {check['status']}", style), name, detail)
    return Group(table, Text(), _doctor_summary([check["status"] for check in checks]))


def _doctor_summary(statuses: Sequence[str]) -> Text:
    failing, warning = statuses.count("fail"), statuses.count("warn")
    if failing:
        return Text(f"The lab cannot run yet: {words.plural(failing, 'thing')} to mend.", BAD)
    if warning:
        return Text(f"The lab can run, with {words.plural(warning, 'limitation')}.", WARNING)
    return Text("The lab can run: nothing is missing.", GOOD)


def _facts() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(ratio=1)
    return table


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def _or(value: object, otherwise: str) -> Text:
    return Text(str(value)) if value else Text(otherwise, WARNING)


def _share(share: Mapping[str, Any] | None) -> Text:
    if share is None:
        return Text("none", WARNING)
    line = Text(f"{share['path']} ({share['kind']})")
    if share.get("notice"):
        line.append("\n! ", WARNING).append(str(share["notice"]))
    return line


def _scaler(scaler: Mapping[str, Any]) -> Text:
    if not scaler.get("pid"):
        return Text("not running: lab up", WARNING)
    age_s = scaler.get("last_tick_age_s")
    line = Text(f"running (process {scaler['pid']}), ")
    if age_s is None:
        line.append("no tick yet", WARNING)
    else:
        ticked = f"last tick {words.seconds(age_s)} ago"
        line.append(ticked, BAD if age_s > STALE_S else "")
    if scaler.get("paused"):
        line.append(", ").append("paused", WARNING).append(" (lab resume)")
    if scaler.get("pin") is not None:
        left = scaler.get("pin_left_s")
        line.append(", ").append(f"pinned to {scaler['pin']}", WARNING)
        line.append(f" for {words.seconds(left)} more" if left is not None else " (lab unpin)")
    return line


def _slots(slots: Sequence[Mapping[str, Any]]) -> RenderableType:
    if not slots:
        return Text("no slots yet: lab up", WARNING)
    table = _table("slot", "phase", "for", "in flight", "queued", "address", "")
    for column in (0, 2, 3, 4):
        table.columns[column].justify = "right"
    table.columns[5].no_wrap = True
    table.columns[6].overflow = "fold"
    for empty, run in groupby(slots, key=_is_plain_empty):
        members = list(run)
        if empty and len(members) > 1:
            span = f"{members[0]['number']} to {members[-1]['number']}"
            table.add_row(span, Text(str(Phase.EMPTY), "dim"))
            continue
        for slot in members:
            table.add_row(*_slot(slot))
    return table


def _is_plain_empty(slot: Mapping[str, Any]) -> bool:
    return slot["phase"] == Phase.EMPTY and not slot.get("doing") and not slot.get("fault")


def _slot(slot: Mapping[str, Any]) -> tuple[str | Text, ...]:
    phase = Phase(slot["phase"])
    busy = phase in (Phase.SERVING, Phase.DRAINING)
    note = Text()
    if slot.get("doing"):
        note.append(f"→ {slot['doing']}")
    if slot.get("fault"):
        note.append(": " if note else "").append(str(slot["fault"]), BAD)
    return (
        str(slot["number"]),
        Text().append(f" {phase} ", LOOKS[phase].style),
        words.seconds(slot.get("for_s")),
        words.count(slot.get("sessions")) if busy else "",
        words.count(slot.get("queued")) if busy else "",
        Text(str(slot.get("address") or "")),
        note,
    )


def _run_numbers(report: Mapping[str, Any]) -> RenderableType:
    facts = _facts()
    failed = report["failed"]
    requests = Text(f"{words.count(report['requests'])}, ")
    requests.append(f"{words.count(failed)} failed", BAD if failed else GOOD)
    latency = (f"{p} {words.milliseconds(report[f'{p}_ms'])}" for p in ("p50", "p95", "p99"))
    facts.add_row("requests", requests)
    facts.add_row("latency", ", ".join(latency))
    facts.add_row("servers", _servers_used(report))
    facts.add_row("too few", _accuracy(report, "tau_u", "theta_u"))
    facts.add_row("too many", _accuracy(report, "tau_o", "theta_o"))
    flaps = "flaps unknown" if report["flaps"] is None else words.plural(report["flaps"], "flap")
    facts.add_row("stability", f"{flaps}, instability {_percent(report['instability'])}")
    return Padding(facts, (0, 0, 0, 2))


def _servers_used(report: Mapping[str, Any]) -> str:
    return (
        f"{words.count(report['peak_servers'])} at the peak, "
        f"{words.count(report['final_servers'])} at the end, "
        f"{words.count(report['container_seconds'])} container-seconds"
    )


def _accuracy(report: Mapping[str, Any], tau: str, theta: str) -> str:
    """One direction of elasticity, after Herbst et al.: how long, and by how much of the demand."""
    return (
        f"{_percent(report[tau])} of the time ({tau}), "
        f"on average by {_percent(report[theta])} of the demand ({theta})"
    )


def _percent(value: float | None) -> str:
    return words.UNKNOWN if value is None else f"{value:.1f} %"


def _toml(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def bench(rows: Iterable[Mapping[str, Any]], tick_ms: float | None) -> RenderableType:
    """What `lab bench` measured. Each row: `name`, `rounds`, `ours_s`, `floor_s`, `ratio`."""
    table = _table("median of", "rounds", "the lab", "raw LXD calls", "ratio")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(
            str(row["name"]),
            str(row["rounds"]),
            words.seconds(row["ours_s"]),
            words.seconds(row["floor_s"]),
            f"{row['ratio']:.2f}",
        )
    tick = Text(f"a tick of the scaler: {words.milliseconds(tick_ms)} at the median", "dim")
    return Group(table, Text(), tick)


def explained(words_by_name: Mapping[str, str]) -> RenderableType:
    """Names, each with what it is."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(ratio=1)
    for name, text in words_by_name.items():
        table.add_row(Text(name), Text(text))
    return table
