"""The row of slots: each with its number, its phase as a word or letter, and its sessions.

A phase is always readable without its colour. Three sizes, by how many slots there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from lab.core.model import Phase, Slot
from lab.views import words

MAX_ROWS = 4
BOX_WIDTHS = (10, 14)
CHIP_WIDTH = 19


@dataclass(frozen=True, slots=True)
class Look:
    letter: str
    style: str


# Colours after Okabe and Ito, which people with any colour vision can tell apart; the text on them
# is black, so that they read the same on dark and on light terminals.
LOOKS = {
    Phase.SERVING: Look("S", "#000000 on #2dbd8c"),
    Phase.JOINING: Look("J", "#000000 on #56b4e9"),
    Phase.BOOTING: Look("B", "#000000 on #f0e442"),
    Phase.DRAINING: Look("D", "#000000 on #e69f00"),
    Phase.BROKEN: Look("X", "bold #ffffff on #b3261e"),
    Phase.WARM: Look("W", "#000000 on #a9c4e8"),
    Phase.STOPPED: Look("o", ""),
    Phase.EMPTY: Look(".", "dim"),
}


def tiles(slots: Sequence[Slot], width: int) -> list[Text]:
    """All slots in at most MAX_ROWS lines of `width` cells, as large as they fit."""
    if not slots:
        return [Text("no slots yet", "dim")]
    if len(slots) * BOX_WIDTHS[0] <= width:
        return _boxes(slots, width)
    if len(slots) <= max(width // CHIP_WIDTH, 1) * MAX_ROWS:
        return _chips(slots, width)
    return _letters(slots, width)


def counts(slots: Sequence[Slot], width: int) -> list[Text]:
    """How many slots are in each phase, in as few lines as fit; it also explains the letters."""
    numbers = Counter(slot.phase for slot in slots)
    lines = [Text()]
    for phase, look in LOOKS.items():
        if not numbers[phase]:
            continue
        part = Text().append(f" {look.letter} ", look.style)
        part.append(f" {phase} ").append(str(numbers[phase]), "bold")
        gap = "   " if lines[-1] else ""
        if lines[-1].cell_len + len(gap) + part.cell_len > width:
            lines.append(part)
        else:
            lines[-1].append(gap).append_text(part)
    return lines


def _boxes(slots: Sequence[Slot], width: int) -> list[Text]:
    box_width = min(max(width // len(slots), BOX_WIDTHS[0]), BOX_WIDTHS[1])
    lines = [Text(), Text(), Text()]
    for slot in slots:
        for line, part in zip(lines, _box(slot, box_width), strict=True):
            line.append_text(part)
    return lines


def _box(slot: Slot, width: int) -> tuple[Text, Text, Text]:
    inner = width - 2
    rests = slot.phase in (Phase.EMPTY, Phase.STOPPED)
    edge, name_style = ("dim", "dim") if rests else ("", "bold")
    top = _edge("╭", f" {slot.number} ", "╮", inner, edge, name_style)
    word = Text().append("│", edge).append(str(slot.phase).center(inner), LOOKS[slot.phase].style)
    load = _load(slot, inner)
    load = f" {load} " if load else ""
    return top, word.append("│", edge), _edge("╰", load, "╯", inner, edge, edge)


def _edge(left: str, said: str, right: str, inner: int, edge: str, style: str) -> Text:
    said = said[:inner]
    before = min(1, inner - len(said))
    line = Text().append(left + "─" * before, edge).append(said, style)
    return line.append("─" * (inner - before - len(said)) + right, edge)


def _load(slot: Slot, width: int) -> str:
    """What the slot is busy with: requests, the seconds of a transition, or its fault."""
    if slot.phase is Phase.BROKEN:
        return slot.fault or "no reason"
    if slot.phase is Phase.DRAINING:
        return f"{slot.sessions} left"
    if slot.phase is Phase.SERVING:
        queued = f"+{slot.queued}" if slot.queued else ""
        unit = "requests" if width >= 12 and not queued else "req"
        return f"{slot.sessions}{queued} {unit}"
    if slot.phase in (Phase.BOOTING, Phase.JOINING):
        return words.seconds(slot.for_s)
    return f"→ {slot.doing}" if slot.doing else ""


def _chips(slots: Sequence[Slot], width: int) -> list[Text]:
    per_line = max(width // CHIP_WIDTH, 1)
    lines = []
    for first in range(0, len(slots), per_line):
        line = Text()
        for slot in slots[first : first + per_line]:
            line.append(f"{slot.number:>3} ", "bold")
            line.append(f"{slot.phase:<8}", LOOKS[slot.phase].style)
            line.append(f" {_load(slot, 6).removesuffix(' req')[:5]:<6}")
        lines.append(line)
    return lines


def _letters(slots: Sequence[Slot], width: int) -> list[Text]:
    """One letter a slot, in tens, each line beginning with the number of its first slot."""
    tens = max((width - 5) // 11, 2)
    room = tens * 10 * MAX_ROWS
    shown = len(slots) if len(slots) <= room else room - 20
    lines = []
    for first in range(0, shown, tens * 10):
        line = Text().append(f"{slots[first].number:>4} ", "dim")
        for place, slot in enumerate(slots[first : min(first + tens * 10, shown)]):
            line.append(" " if place and place % 10 == 0 else "")
            line.append(LOOKS[slot.phase].letter, LOOKS[slot.phase].style)
        lines.append(line)
    if shown < len(slots):
        lines[-1].append(f" and {len(slots) - shown} more", "dim")
    return lines
