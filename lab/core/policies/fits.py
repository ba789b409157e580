"""Small numerical means of the classic policies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

Histogram = tuple[int, ...]
"""Observed values; how often one stands there is its weight."""

NEARLY_ZERO = 1e-9


def percentile(histograms: Sequence[Histogram], share: float) -> int:
    """The smallest value that at least `share` of all observations do not exceed."""
    counts = Counter(value for histogram in histograms for value in histogram)
    needed = share * counts.total()
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= needed:
            return value
    raise ValueError("a percentile needs observations")


def quadratic(samples: Sequence[tuple[float, float]], at: float) -> float:
    """The least-squares polynomial of degree two at most through (x, y) samples, at `at`.

    With fewer than three different x, of the highest degree that they determine.
    """
    spread = max(abs(x - at) for x, _ in samples) or 1.0
    points = [((x - at) / spread, y) for x, y in samples]
    for degree in (2, 1):
        solution = _solve(_normal_equations(points, degree)) if len(points) > degree else None
        if solution is not None:
            return solution[0]
    return math.fsum(y for _, y in points) / len(points)


def _normal_equations(points: Sequence[tuple[float, float]], degree: int) -> list[list[float]]:
    powers = [math.fsum(x**power for x, _ in points) for power in range(2 * degree + 1)]
    return [
        [*powers[row : row + degree + 1], math.fsum(y * x**row for x, y in points)]
        for row in range(degree + 1)
    ]


def _solve(rows: list[list[float]]) -> list[float] | None:
    """Gauss and Jordan with pivoting; each row is an equation, its right side last.

    None where the rows are (nearly) dependent, so that there is no one solution.
    """
    size = len(rows)
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        if abs(rows[pivot][column]) < NEARLY_ZERO:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(size):
            if row != column:
                factor = rows[row][column] / rows[column][column]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [rows[row][size] / rows[row][row] for row in range(size)]
