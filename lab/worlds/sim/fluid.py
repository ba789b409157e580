"""Waiting without single requests: how many are in the system on average. Pure.

A pool of c workers with the service time S is taken for a G/G/c queue. For the share ρ of the
workers that are busy, its stationary mean number in the system is

    L(ρ) = c·ρ + (ca² + cs²)/2 · ρ^√(2(c+1)) / (1 − ρ)

(Sakasegawa 1977 for M/M/c, Allen and Cunneen for other variations ca², cs² of the gaps between
arrivals and of service times). Over time, the number changes by what arrives and what leaves,
and ρ is taken to be the one that belongs to the number of the moment: the pointwise stationary
fluid flow approximation (Wang, Tipper and Banerjee 1996). It is exact for long steady states, and
a backlog under overload grows and shrinks as it should.
"""

from __future__ import annotations

import math

FULL = 1.0 - 1e-9
PRECISION = 1e-10


def waiting(workers: float, busy_share: float, variation: float) -> float:
    """Requests that wait in a steady state; `variation` is (ca² + cs²)/2."""
    if workers <= 0:
        return math.inf
    power: float = busy_share ** math.sqrt(2.0 * (workers + 1.0))
    return variation * power / (1.0 - busy_share)


def waits_share(workers: float, busy_share: float) -> float:
    """The part of the requests that have to wait at all, in a steady state."""
    if workers <= 0:
        return 1.0
    share: float = busy_share ** max(0.0, math.sqrt(2.0 * (workers + 1.0)) - 1.0)
    return min(1.0, share)


def open_step(
    number: float,
    arrivals: float,
    workers: float,
    service_s: float,
    variation: float,
    step_s: float,
) -> tuple[float, float]:
    """The share of busy workers and the number in the system after `step_s`.

    With L' the new number, L' + step·c·ρ'/S = L + arrivals, where ρ' belongs to L': the implicit
    step, which is stable however long it is.
    """
    target = number + arrivals
    slope = workers * (1.0 + step_s / service_s)
    if workers <= 0 or target <= 0:
        return 0.0, max(0.0, target)
    # The left side is convex and grows with ρ', so Newton's steps from above come down to it.
    share = min(target / slope, FULL)
    root = math.sqrt(2.0 * (workers + 1.0))
    for _ in range(60):
        power = variation * share**root
        rest = 1.0 - share
        value = slope * share + power / rest - target
        derivative = slope + power / (rest * rest)
        if share > 0:
            derivative += power * root / (share * rest)
        after = share - value / derivative
        after = min(max(after, 0.0), (1.0 + share) / 2.0, FULL)
        if abs(after - share) < PRECISION * (1.0 - after):
            share = after
            break
        share = after
    return share, target - workers * share * step_s / service_s


def closed_step(
    number: float,
    users: float,
    pause_s: float,
    workers: float,
    service_s: float,
    step_s: float,
) -> tuple[float, float]:
    """The same for `users` who send the next request `pause_s` after an answer.

    Nobody waits as long as there are no more requests than workers, and the implicit step is a
    straight line on either side: L'·(1 + step/pause) + step·min(L', c)/S = L + step·N/pause.
    """
    back = step_s / max(pause_s, 1e-6)
    right = number + back * users
    after = right / (1.0 + back + step_s / service_s)
    if after > workers:
        after = (right - step_s * workers / service_s) / (1.0 + back)
    # Users who are to go finish what they have sent.
    after = min(after, max(float(users), number))
    busy = min(after, workers)
    return (busy / workers if workers > 0 else 0.0), after
