"""Adjusting a number of servers: by so many, to so many, or by so many percent.

Shared by EC2's, Heat's and Senlin's policies, whose words and rounding are the same: a share of a
server counts as a whole one, and more than one is rounded towards zero. 10 % of 4 is 1 (0.4), 10 %
of 19 is 1 (1.9), and -10 % of 19 is -1.
"""

from __future__ import annotations

import math
from enum import StrEnum


class AdjustmentType(StrEnum):
    """EC2 writes these ChangeInCapacity, ExactCapacity and PercentChangeInCapacity."""

    CHANGE_IN_CAPACITY = "change_in_capacity"
    EXACT_CAPACITY = "exact_capacity"
    PERCENT_CHANGE_IN_CAPACITY = "percent_change_in_capacity"


def rounded_percent(current: int, percent: float) -> int:
    """`percent` of `current` servers: less than one away from zero, else towards zero."""
    delta = current * percent / 100
    if abs(delta) < 1:
        return math.ceil(delta) if delta > 0 else math.floor(delta)
    return math.floor(delta) if delta > 0 else math.ceil(delta)


def clamp(servers: int, least: int, most: int) -> int:
    """Heat's order: the ceiling goes before the floor where they contradict each other."""
    return most if servers > most else max(servers, least)
