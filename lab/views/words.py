"""Numbers and times as people read them. What is unknown is a dash, never a zero."""

from __future__ import annotations

UNKNOWN = "–"


def clock(seconds: float, tenths: bool = False) -> str:
    """Seconds as `1:05` or, from an hour on, `2:01:05`; with `tenths` as `1:05.3`."""
    # One rounding for all parts, so that 59.96 s is 1:00.0 and never 0:60.0.
    whole, tenth = divmod(round(max(seconds, 0.0) * 10), 10)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return f"{text}.{tenth}" if tenths else text


def count(value: float | None) -> str:
    """A whole number."""
    return UNKNOWN if value is None else f"{value:.0f}"


def rate(value: float | None) -> str:
    """A number per second: one decimal below ten, where it matters."""
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" if 0 < value < 9.95 else f"{value:.0f}"


def milliseconds(value: float | None) -> str:
    """A latency in ms with its unit; from a second on in seconds."""
    if value is None:
        return UNKNOWN
    if value >= 999.5:
        return f"{value / 1000:.3g} s" if value < 1e6 else f"{value / 1000:.0f} s"
    return f"{value:.1f} ms" if 0 < value < 9.95 else f"{value:.0f} ms"


def seconds(value: float | None) -> str:
    """A short duration: `0.41 s`, `4.1 s`, `41 s`, then as a clock."""
    if value is None:
        return UNKNOWN
    if value >= 99.5:
        return clock(value)
    digits = 2 if value < 0.995 else 1 if value < 9.95 else 0
    return f"{value:.{digits}f} s"


def plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
