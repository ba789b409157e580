"""The schedule: cron expressions, dates, and what happens when the clocks are changed.

The rules are crontab(5)'s; the changes of the clocks are those of the IANA database.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.model import Observation
from lab.core.policies import cron
from lab.core.policies.pinned import Pinned
from lab.core.policies.schedule import Entry, Schedule

BERLIN = ZoneInfo("Europe/Berlin")


def utc_s(text, zone=UTC, fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def last(expression, text, zone=UTC, fold=0):
    """The last time that the expression means, at or before a local time, as text."""
    at_s = cron.parse(expression).last(utc_s(text, zone, fold), ZoneInfo(str(zone)))
    return None if at_s is None else f"{datetime.fromtimestamp(at_s, zone):%Y-%m-%d %H:%M}"


def told(schedule, text, zone=UTC, current=3):
    seen = Observation(0, (), utc_s=utc_s(text, zone))
    return schedule.recommend(None, seen, current)[0]


@pytest.mark.parametrize(
    ("expression", "now", "expected"),
    [
        # 2026-03-04 is a Wednesday.
        ("* * * * *", "2026-03-04T10:07:59", "2026-03-04 10:07"),
        ("*/15 * * * *", "2026-03-04T10:14", "2026-03-04 10:00"),
        ("0 8 * * *", "2026-03-04T08:00", "2026-03-04 08:00"),
        ("0 8 * * *", "2026-03-04T07:59:59", "2026-03-03 08:00"),
        ("5,35 9-17/4 * * *", "2026-03-04T12:00", "2026-03-04 09:35"),
        ("5,35 9-17/4 * * *", "2026-03-04T20:00", "2026-03-04 17:35"),
        ("10/20 * * * *", "2026-03-04T10:52", "2026-03-04 10:50"),
        ("0 8 * * mon-fri", "2026-03-08T12:00", "2026-03-06 08:00"),
        ("0 8 * * 1-5", "2026-03-08T12:00", "2026-03-06 08:00"),
        ("0 0 * * sun", "2026-03-04T12:00", "2026-03-01 00:00"),
        ("0 0 * * 7", "2026-03-04T12:00", "2026-03-01 00:00"),
        ("0 0 * * 0", "2026-03-04T12:00", "2026-03-01 00:00"),
        ("0 0 * * 5-7", "2026-03-04T12:00", "2026-03-01 00:00"),
        ("0 0 1 JAN *", "2026-03-04T12:00", "2026-01-01 00:00"),
        ("0 0 29 feb *", "2026-03-04T12:00", "2024-02-29 00:00"),
        ("0 0 29 2 *", "1904-02-28T12:00", "1896-02-29 00:00"),  # 1900 had no such day
        ("0 0 31 * *", "2026-03-04T12:00", "2026-01-31 00:00"),
        # crontab(5): with both fields restricted either may match ...
        ("30 4 1,15 * 5", "2026-03-04T12:00", "2026-03-01 04:30"),
        ("30 4 1,15 * 5", "2026-03-07T12:00", "2026-03-06 04:30"),
        # ... and with a star in one of them both must.
        ("30 4 */2 * 5", "2026-03-14T12:00", "2026-03-13 04:30"),
        ("0 0 1-7 * */7", "2026-03-04T12:00", "2026-03-01 00:00"),
    ],
)
def test_the_last_time(expression, now, expected):
    assert last(expression, now) == expected


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("* * * *", "has five fields, not 4"),
        ("0 0 0 * * *", "has five fields, not 6"),
        ("60 * * * *", "'60' is no minute: 0 to 59"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 0 * *", "'0' is no day of month"),
        ("* * * 13 *", "'13' is no month"),
        ("* * * foo *", "'foo' is no month"),
        ("* * * * 8", "'8' is no day of week"),
        ("17-9 * * * *", "'17-9' is no minute: 0 to 59, the smaller first"),
        ("*/0 * * * *", "'*/0' is no minute"),
        ("*/ * * * *", "'*/' is no minute"),
        ("1,,2 * * * *", "'' is no minute"),
        ("-5 * * * *", "'-5' is no minute"),
        ("² * * * *", "'²' is no minute"),
        ("0 0 31 feb,apr *", "none of these months has such a day"),
        ("0 0 30 2 *", "none of these months has such a day"),
    ],
)
def test_what_cannot_be_read_is_named(expression, complaint):
    with pytest.raises(ValueError, match=r".*") as refused:
        cron.parse(expression)
    assert complaint in str(refused.value)


def test_a_time_in_the_gap_of_spring_happens_when_the_gap_ends():
    # Berlin, 2026-03-29: after 01:59 comes 03:00.
    assert last("30 2 * * *", "2026-03-29T03:00", BERLIN) == "2026-03-29 03:00"
    assert last("30 2 * * *", "2026-03-29T01:59:59", BERLIN) == "2026-03-28 02:30"
    assert last("30 2 * * *", "2026-03-30T02:29", BERLIN) == "2026-03-29 03:00"


def test_a_time_that_is_twice_in_autumn_happens_the_first_time_only():
    # Berlin, 2026-10-25: after 02:59 comes 02:00 once more.
    rule = cron.parse("30 2 * * *")
    first = utc_s("2026-10-25T00:30")
    for minutes in (0, 29, 30, 59, 60, 90):
        assert rule.last(first + 60 * minutes, BERLIN) == first
    assert rule.last(first - 1, BERLIN) == utc_s("2026-10-24T00:30")


def test_in_the_second_pass_the_times_before_it_in_the_first_hold():
    # 02:10 the second time: 02:30 was 40 minutes ago.
    assert last("30 2 * * *", "2026-10-25T02:10", BERLIN, fold=1) == "2026-10-25 02:30"


def test_a_whole_day_that_a_place_leaves_out():
    # Apia went from 29 to 31 December 2011.
    apia = ZoneInfo("Pacific/Apia")
    assert last("0 12 30 12 *", "2011-12-31T00:00", apia) == "2011-12-31 00:00"


def test_clocks_that_are_changed_at_midnight():
    # Havana, 2026-11-01: after 00:59 comes 00:00 once more; 2026-03-08: after 23:59 comes 01:00.
    havana = ZoneInfo("America/Havana")
    assert last("0 0 * * *", "2026-11-01T00:30", havana, fold=1) == "2026-11-01 00:00"
    assert last("0 0 * * *", "2026-03-08T01:00", havana) == "2026-03-08 01:00"


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
    st.sampled_from(["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "UTC"]),
    st.sampled_from(["* * * * *", "30 2 * * *", "*/7 1-3 * * *", "15 0 * 3,10,11 sun"]),
)
def test_the_last_time_is_not_in_the_future_and_nothing_lies_between(now, name, expression):
    zone, rule = ZoneInfo(name), cron.parse(expression)
    now_s = float(round(now.replace(tzinfo=UTC).timestamp()))
    began_s = rule.last(now_s, zone)
    assert began_s <= now_s
    assert rule.last(began_s, zone) == began_s
    assert rule.last(began_s - 1, zone) < began_s
    local = datetime.fromtimestamp(now_s, zone).replace(tzinfo=None)
    times = [local - timedelta(minutes=minutes) for minutes in range(-70, 200)]
    meant = [
        cron.seconds(time.replace(second=0, microsecond=0), zone)
        for time in times
        if rule.means(time.date()) and time.hour in rule.hours and time.minute in rule.minutes
    ]
    assert all(at_s > now_s or at_s <= began_s for at_s in meant)


OFFICE = Schedule(
    zone="Europe/Berlin",
    entries=(
        Entry(6, cron="0 8 * * mon-fri"),
        Entry(2, cron="0 18 * * *"),
        Entry(9, at="2026-03-04T12:00", for_s=7200),
    ),
)


@pytest.mark.parametrize(
    ("now", "servers"),
    [
        ("2026-03-04T07:59", 2),
        ("2026-03-04T08:00", 6),
        ("2026-03-04T11:59", 6),
        ("2026-03-04T12:00", 9),
        ("2026-03-04T13:59", 9),
        ("2026-03-04T14:00", 6),  # the event is over, the working day is not
        ("2026-03-04T18:00", 2),
        ("2026-03-07T12:00", 2),  # Saturday
    ],
)
def test_a_day_at_the_office(now, servers):
    assert told(OFFICE, now, BERLIN).servers == servers


def test_it_says_which_entry_holds_since_when_in_the_schedules_zone():
    assert told(OFFICE, "2026-03-04T10:00", BERLIN).formula == (
        "cron '0 8 * * mon-fri' holds since 2026-03-04 08:00 Europe/Berlin: 6"
    )


def test_of_two_that_begin_at_once_the_larger_holds():
    both = Schedule(entries=(Entry(3, cron="0 8 * * *"), Entry(5, cron="0 8 * * *")))
    assert told(both, "2026-03-04T09:00").servers == 5


def test_a_date_is_in_the_schedules_zone_unless_it_names_an_offset():
    once = Schedule(zone="Europe/Berlin", entries=(Entry(5, at="2026-07-01T12:00"),))
    assert told(once, "2026-07-01T10:00").servers == 5  # UTC
    assert told(once, "2026-07-01T09:59", current=3).servers == 3
    other = Schedule(zone="Europe/Berlin", entries=(Entry(5, at="2026-07-01T12:00Z"),))
    assert told(other, "2026-07-01T11:59").servers == 3
    assert told(other, "2026-07-01T12:00").servers == 5


def test_before_anything_has_begun_all_stay():
    recommendation = told(Schedule(), "2026-03-04T09:00", current=4)
    assert recommendation.servers == 4
    assert "no entry has begun" in recommendation.formula


def test_without_the_time_of_day_nothing_is_said():
    assert OFFICE.recommend(None, Observation(0, ()), 3)[0].servers is None


@pytest.mark.parametrize(
    "build",
    [
        lambda: Entry(1),
        lambda: Entry(1, cron="0 8 * * *", at="2026-03-04"),
        lambda: Entry(1, cron="0 8 * *"),
        lambda: Entry(1, at="tomorrow"),
        lambda: Schedule(zone="Europe/Bonn"),
        lambda: Schedule(zone="../etc/passwd"),
        lambda: Schedule(zone=""),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(build):
    with pytest.raises(ValueError, match=r"entry|five fields|no date|no time zone"):
        build()


def test_pinned_is_a_number_whatever_is_seen_or_not():
    recommendation, memory = Pinned(4).recommend(None, Observation(0, ()), 1)
    assert (recommendation.servers, memory) == (4, None)
    assert recommendation.formula == "pinned to 4 by the settings"
