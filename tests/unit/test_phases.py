from __future__ import annotations

from itertools import product

import pytest

from lab.core.model import Phase, Verb
from lab.core.phases import ALLOWED, PHASES, Container, Gate, phase_of

TABLE = """
            closed   open     down     draining
absent      empty    broken   broken   broken
stopped     stopped  broken   broken   broken
running     booting  serving  serving  draining
frozen      warm     broken   broken   broken
"""


def rows():
    header, *lines = [line.split() for line in TABLE.strip().splitlines()]
    for name, *phases in lines:
        for gate, phase in zip(header, phases, strict=True):
            yield Container(name), Gate(gate), Phase(phase)


@pytest.mark.parametrize(("container", "gate", "phase"), list(rows()))
def test_phase_of_every_pair(container, gate, phase):
    assert phase_of(container, gate) is phase


def test_the_table_above_is_whole():
    assert {(container, gate) for container, gate, _ in rows()} == set(product(Container, Gate))
    assert set(PHASES) <= set(product(Container, Gate))


def test_every_phase_says_what_may_be_asked_of_it():
    assert set(ALLOWED) == set(Phase)


def test_a_serving_server_can_only_be_drained():
    assert ALLOWED[Phase.SERVING] == {Verb.DRAIN}
