"""Decisions that came about, and rules that run now and then."""

from __future__ import annotations

import pytest

from lab.core.changes import NO_CHANGES, Change, Changes, is_due, next_due


def test_a_decision_counts_when_it_is_seen_with_its_own_time_and_the_size_that_came():
    asked = NO_CHANGES.decided(10, 4, 8)
    assert asked.made == ()
    assert asked.seen(7).made == (Change(10, 3),)
    assert NO_CHANGES.decided(10, 4, 1).seen(1).made == (Change(10, -3),)


@pytest.mark.parametrize("current", [4, 3, 0])
def test_a_decision_that_was_not_followed_is_none(current):
    """Nothing came, or the other way round: a server broke."""
    assert NO_CHANGES.decided(10, 4, 8).seen(current) == NO_CHANGES


def test_wanting_what_there_is_asks_for_nothing():
    assert NO_CHANGES.decided(10, 4, 4).seen(9).made == ()


def test_net_and_newer_and_since_leave_out_what_is_as_old_as_asked():
    changes = Changes((Change(1, 4), Change(2, -1), Change(3, 2)))
    assert changes.net(1) == 1
    assert changes.net(0) == 5
    assert changes.newer(2) == (Change(3, 2),)
    assert changes.since(2).made == (Change(3, 2),)
    assert changes.last == Change(3, 2)
    assert NO_CHANGES.last is None


def test_due_at_once_and_then_on_a_grid_without_making_up_for_missed_runs():
    assert is_due(None, 7)
    due_s = next_due(None, 7, 15)
    assert due_s == 22
    assert not is_due(due_s, 21.9)
    assert is_due(due_s, 22)
    assert next_due(due_s, 22.25, 15) == 37
    assert next_due(due_s, 60, 15) == 75


def test_steps_that_add_up_to_a_little_less_are_on_time():
    assert is_due(0.3, sum([0.1] * 3) - 1e-9)
