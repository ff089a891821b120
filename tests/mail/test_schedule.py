"""Schedules of messages: what may be written, and when mail may go."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.duration import Seconds, WallTime
from penstock.mail.schedule import Schedule, ScheduleError, Window, may_go_at, never_tried, parse_schedule

ZONES = {name: ZoneInfo(name) for name in ("UTC", "Europe/Vienna", "America/Phoenix", "Asia/Kathmandu")}
OFFICE = b'{"dow": "Mon,Tue", "tz": "Europe/Vienna", "start": "09:00:00", "end": "17:00:00"}'


def at(text: str, zone: str = "UTC") -> WallTime:
    """A moment."""
    return WallTime(dt.datetime.fromisoformat(text).replace(tzinfo=ZONES[zone]).timestamp())


def when(schedule: bytes | Schedule, text: str, zone: str = "Europe/Vienna") -> str:
    """When mail may go that wants to go at this moment, in the same zone."""
    parsed = parse_schedule(schedule, ZONES.get) if isinstance(schedule, bytes) else schedule
    found = may_go_at(parsed, at(text, zone), ZONES.get)
    return dt.datetime.fromtimestamp(found, ZONES[zone]).replace(tzinfo=None).isoformat()


@pytest.mark.parametrize(
    ("wanted", "goes"),
    [
        ("2026-11-21T12:00:00", "2026-11-23T09:00:00"),  # a Saturday
        ("2026-11-23T08:59:59", "2026-11-23T09:00:00"),
        ("2026-11-23T09:00:00", "2026-11-23T09:00:00"),
        ("2026-11-23T16:59:59", "2026-11-23T16:59:59"),
        ("2026-11-23T17:00:00", "2026-11-24T09:00:00"),
        ("2026-11-24T17:00:00", "2026-11-30T09:00:00"),
    ],
)
def test_mail_goes_within_its_hours(wanted: str, goes: str) -> None:
    """Their beginning belongs to them, their end does not."""
    assert when(OFFICE, wanted) == goes


def test_hours_over_midnight_end_on_the_next_day() -> None:
    """Which need not be a day of theirs."""
    night = b'{"dow": "fri", "tz": "Europe/Vienna", "start": "22:00:00", "end": "06:00:00"}'
    assert when(night, "2026-11-21T05:59:59") == "2026-11-21T05:59:59"
    assert when(night, "2026-11-21T06:00:00") == "2026-11-27T22:00:00"
    assert when(night, "2026-11-20T12:00:00") == "2026-11-20T22:00:00"


def test_clocks_that_are_turned() -> None:
    """Hours that are skipped, and hours that there are twice."""
    early = b'{"dow": "sun", "tz": "Europe/Vienna", "start": "02:15:00", "end": "02:45:00"}'
    # 2026-03-29: 02:00 becomes 03:00; 02:15 by the old offset is 01:15 UTC
    assert when(early, "2026-03-28T12:00:00", "UTC") == "2026-03-29T01:15:00"
    # 2026-10-25: 03:00 becomes 02:00; from the first 02:15 (00:15 UTC) to the second 02:45 (01:45 UTC)
    assert when(early, "2026-10-24T12:00:00", "UTC") == "2026-10-25T00:15:00"
    assert when(early, "2026-10-25T01:44:00", "UTC") == "2026-10-25T01:44:00"
    assert when(early, "2026-10-25T01:45:00", "UTC") == "2026-11-01T01:15:00"


def test_a_first_attempt_and_an_expiry() -> None:
    """With an offset, and together with hours."""
    schedule = parse_schedule(
        b'{"first_attempt": "2026-12-01T08:00:00-07:00", "expires": "2026-12-24T00:00:00Z"}', ZONES.get
    )
    assert schedule == Schedule(at("2026-12-01T15:00:00"), None, at("2026-12-24T00:00:00"))
    assert when(schedule, "2026-11-01T00:00:00", "UTC") == "2026-12-01T15:00:00"
    assert when(schedule, "2026-12-02T00:00:00", "UTC") == "2026-12-02T00:00:00"
    both = OFFICE.replace(b"{", b'{"first_attempt": "2026-11-23T16:00:00Z", ')
    assert when(both, "2026-11-20T00:00:00") == "2026-11-24T09:00:00"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"tomorrow", "is JSON such as"),
        (b"[]", r'such as \{"first_attempt": "2026-12-01T08:00:00Z"\}$'),
        (b'{"frist_attempt": 1', "is JSON such as .*: Input data was truncated"),
        (b"\xff", "is JSON such as"),
        (b'{"first_attempt": tomorrow}', "is JSON such as"),
        (b'{"frist_attempt": "2026-12-01T08:00:00Z"}', "^there is no 'frist_attempt'; a schedule has first_attempt, dow, tz, start, end, expires$"),
        ('{"f\u00fcrst": 1}', r"^there is no 'f.xfcrst'; "),
        (b'{"first_attempt": "2026-12-01"}', '^first_attempt is wrong; write "2026-12-01T08:00:00Z" or'),
        (b'{"expires": 1796112000}', '^expires is wrong; write "2026-12-01T08:00:00Z" or'),
        (b'{"dow": 1}', '^dow is wrong; write "Mon,Tue"$'),
        (b'{"tz": 1}', '^tz is wrong; write "Europe/Vienna"$'),
        (OFFICE.replace(b"09:00:00", b"09:00"), '^start is wrong; write "09:00:00"$'),
        (OFFICE.replace(b"17:00:00", b"5 pm"), '^end is wrong; write "17:00:00"$'),
        (b'{"first_attempt": "2026-12-01T08:00:00"}', "first_attempt has no offset"),
        (b'{"expires": "2026-12-01T08:00:00"}', "expires has no offset"),
        (b'{"expires": "9999-12-31T23:59:59Z"}', "expires is out of range"),
        (b'{"expires": "0001-01-01T00:00:00+14:00"}', "expires is out of range"),
        (OFFICE.replace(b"Tue", b"Tomorrow"), "'Tomorrow' is no weekday"),
        (OFFICE.replace(b"Vienna", b"Gotham"), "no time zone 'Europe/Gotham'"),
        (OFFICE.replace(b"17:00:00", b"09:00:00"), "the same"),
        (OFFICE.replace(b"17:00:00", b"17:00:00Z"), "without an offset"),
        (b'{"dow": "mon"}', "all of dow, tz, start and end"),
        (b'{"dow": "' + b"mon," * 1000 + b'"}', "at most 2048 octets"),
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_the_reason(text: bytes | str, what: str) -> None:
    """In words that a sender can act on."""
    with pytest.raises(ScheduleError, match=what.replace("`", ".")):
        parse_schedule(text, ZONES.get)


@given(
    st.frozensets(st.integers(0, 6), min_size=1),
    st.sampled_from(sorted(ZONES)),
    st.times(),
    st.times(),
    st.floats(at("2020-01-01T00:00:00"), at("2040-01-01T00:00:00")),
)
def test_mail_never_goes_early_nor_waits_longer_than_a_week(
    days: frozenset[int], zone: str, start: dt.time, end: dt.time, wanted: float
) -> None:
    """And once it may go, it may."""
    schedule = Schedule(window=Window(days, zone, start, end))
    moment = WallTime(wanted)
    found = may_go_at(schedule, moment, ZONES.get)
    assert moment <= found <= moment + 7 * 86400 + 7200
    assert may_go_at(schedule, found, ZONES.get) == found


@pytest.mark.parametrize(
    ("schedule", "days", "why"),
    [
        (b'{"first_attempt": "2026-11-28T00:00:00Z"}', 7, "2026-11-28T00:00:00Z on, and the max_age of its queue ends at 2026-11-28T00:00:00Z"),
        (b'{"first_attempt": "2026-11-27T23:59:59Z"}', 7, None),
        (b'{"first_attempt": "2027-11-28T00:00:00Z"}', None, None),
        (b'{"first_attempt": "2027-11-28T00:00:00Z", "expires": "2027-11-29T00:00:00Z"}', 7, None),
        (b'{"expires": "2026-11-21T00:00:00Z"}', None, "expires is past"),
        (b'{"expires": "2026-11-21T00:00:01Z"}', None, None),
        # a Saturday; the hours begin on Monday at 08:00 UTC
        (OFFICE, 2, "it may be tried from 2026-11-23T08:00:00Z on"),
        (OFFICE, 3, None),
        (OFFICE.replace(b"}", b', "expires": "2026-11-23T08:00:00Z"}'), 3, "expires comes before"),
        (OFFICE.replace(b"}", b', "expires": "2026-11-23T08:00:01Z"}'), 1, None),
    ],
)  # fmt: skip
def test_mail_that_would_expire_before_it_may_go(schedule: bytes, days: int | None, why: str | None) -> None:
    """Its own end counts instead of the queue's; at that moment it is over."""
    max_age = Seconds(days * 86400.0) if days is not None else None
    parsed = parse_schedule(schedule, ZONES.get)
    found = never_tried(parsed, max_age, at("2026-11-21T00:00:00"), ZONES.get)
    assert (found is None) == (why is None)
    assert (why or "") in (found or "")


def test_a_zone_that_is_gone_restricts_nothing() -> None:
    """Late beats lost, and never beats both."""
    schedule = parse_schedule(OFFICE, ZONES.get)
    assert may_go_at(schedule, WallTime(5.0), lambda _: None) == 5.0
