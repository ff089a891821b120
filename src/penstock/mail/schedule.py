"""When a message may be delivered, as its sender wants it: not before a moment, within hours of certain weekdays, not after a moment.

Written as JSON, in the header field that ``queues.toml`` names, by a policy, or through the API::

    {"first_attempt": "2026-12-01T08:00:00-07:00"}
    {"dow": "Mon,Tue", "tz": "America/Phoenix", "start": "09:00:00", "end": "17:00:00", "expires": "2026-12-04T00:00:00Z"}

Hours that end before they begin end on the next day. Where clocks are turned forward over the beginning, the hours begin at the offset from before
the change; an hour that there is twice counts from its first time to its last.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

import msgspec

from penstock.mail.duration import Seconds, WallTime

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_NAMES: Final = {
    name: number
    for number, names in enumerate(
        (
            "monday mon", "tuesday tue tues", "wednesday wed weds", "thursday thu thur thurs", "friday fri",
            "saturday sat", "sunday sun",
        )
    )
    for name in names.split()
}  # fmt: skip
#: Octets that a schedule may have.
_LIMIT: Final = 2048

#: Years that calendars and columns of instants have room for, with some to spare.
_FIRST_YEAR: Final = 1971
_LAST_YEAR: Final = 2199

#: The zone of a name such as ``Europe/Vienna``; None if there is none.
ZoneOf = Callable[[str], dt.tzinfo | None]


class ScheduleError(ValueError):
    """A text is no schedule; ``str()`` says what is wrong, and what would be right."""


class Window(msgspec.Struct, frozen=True, gc=False):
    """Hours of weekdays (0 is Monday) in a zone. ``zone`` is its name."""

    days: frozenset[int]
    zone: str
    start: dt.time
    end: dt.time


class Schedule(msgspec.Struct, frozen=True, gc=False):
    """``first_attempt`` and ``expires`` in seconds since 1970; None, or no window, is no restriction."""

    first_attempt: WallTime | None = None
    window: Window | None = None
    expires: WallTime | None = None


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    """As JSON has it."""

    first_attempt: dt.datetime | None = None
    dow: str | None = None
    tz: str | None = None
    start: dt.time | None = None
    end: dt.time | None = None
    expires: dt.datetime | None = None


_EXAMPLE: Final = '{"first_attempt": "2026-12-01T08:00:00Z"}'
#: What may be written, by key.
_RIGHT: Final = {
    "first_attempt": '"2026-12-01T08:00:00Z" or "...-07:00"',
    "dow": '"Mon,Tue"',
    "tz": '"Europe/Vienna"',
    "start": '"09:00:00"',
    "end": '"17:00:00"',
    "expires": '"2026-12-01T08:00:00Z" or "...-07:00"',
}

_decode = msgspec.json.Decoder(_Written).decode


def parse_schedule(text: bytes | str, zone_of: ZoneOf) -> Schedule:
    """The schedule that a text writes; ScheduleError."""
    if len(text) > _LIMIT:
        raise ScheduleError(f"a schedule has at most {_LIMIT} octets")
    try:
        written = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ScheduleError(_complaint(text)) from None
    first_attempt = _moment("first_attempt", written.first_attempt)
    expires = _moment("expires", written.expires)
    if first_attempt is not None and expires is not None and expires <= first_attempt:
        raise ScheduleError("expires comes before first_attempt; mail that expires first is never tried")
    return Schedule(first_attempt, _window(written, zone_of), expires)


def _complaint(text: bytes | str) -> str:
    """What is wrong with a text that cannot be read as a schedule; of the reader's own words those alone that say where JSON is none."""
    example = f"a schedule is JSON such as {_EXAMPLE}"
    try:
        members = msgspec.json.decode(text, type=dict[str, object])
    except msgspec.ValidationError:
        return example
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"{example}: {error}"
    for key, value in members.items():
        if key not in _RIGHT:
            return f"there is no {key[:40]!a}; a schedule has {', '.join(_RIGHT)}"
        if value is None:
            continue
        try:
            msgspec.convert({key: value}, _Written)
        except msgspec.ValidationError:
            return f"{key} is wrong; write {_RIGHT[key]}"
    return example


def _moment(name: str, given: dt.datetime | None) -> WallTime | None:
    if given is None:
        return None
    if given.tzinfo is None:
        raise ScheduleError(f"{name} has no offset from UTC; write 2026-12-01T08:00:00Z or ...-07:00")
    if not _FIRST_YEAR <= given.year <= _LAST_YEAR:
        raise ScheduleError(f"{name} is out of range; write a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    return WallTime(given.timestamp())


def _window(written: _Written, zone_of: ZoneOf) -> Window | None:
    parts = (written.dow, written.tz, written.start, written.end)
    if all(part is None for part in parts):
        return None
    dow, tz, start, end = parts
    if dow is None or tz is None or start is None or end is None:
        raise ScheduleError("a window has all of dow, tz, start and end")
    days = frozenset(_day(word.strip()) for word in dow.split(","))
    if zone_of(tz) is None:
        raise ScheduleError(f"there is no time zone {tz[:60]!r}; write one such as Europe/Vienna")
    if start.tzinfo is not None or end.tzinfo is not None:
        raise ScheduleError("start and end are hours of the zone tz, without an offset of their own")
    if start == end:
        raise ScheduleError("start and end are the same; a window has a length")
    return Window(days, tz, start, end)


def _day(word: str) -> int:
    day = _DAY_NAMES.get(word.lower())
    if day is None:
        raise ScheduleError(f"{word[:20]!r} is no weekday; write {','.join(_DAYS)}")
    return day


def may_go_at(schedule: Schedule, wanted: WallTime, zone_of: ZoneOf) -> WallTime:
    """The first moment from ``wanted`` on at which the message may be tried. A zone that is not known any more restricts nothing."""
    if schedule.first_attempt is not None:
        wanted = max(wanted, schedule.first_attempt)
    window = schedule.window
    zone = zone_of(window.zone) if window is not None else None
    if window is None or zone is None:
        return wanted
    today = dt.datetime.fromtimestamp(wanted, zone).date()
    # from yesterday, whose hours may last until today, to the same weekday of the next week
    for after in range(-1, 8):
        day = today + dt.timedelta(days=after)
        if day.weekday() not in window.days:
            continue
        opens, closes = _hours(window, day, zone)
        if closes > wanted:
            return max(wanted, opens)
    return wanted  # hours that a change of the clocks has swallowed, on the only day of the week


def never_tried(schedule: Schedule, max_age: Seconds | None, now: WallTime, zone_of: ZoneOf) -> str | None:
    """Why a message accepted ``now`` would expire before it may be tried, and what would be right; None: it would not.

    ``max_age`` is its queue's, which counts where the schedule has no ``expires``; None is not known, and does not count.
    """
    earliest = may_go_at(schedule, now, zone_of)
    if schedule.expires is not None:
        if schedule.expires <= now:
            return "expires is past; mail that expires first is never tried"
        if schedule.expires <= earliest:
            return f"it may be tried from {_utc(earliest)} on, and expires comes before; write a later one"
    elif max_age is not None and now + max_age <= earliest:
        return (
            f"it may be tried from {_utc(earliest)} on, and the max_age of its queue ends at {_utc(now + max_age)}; "
            "write an expires after both"
        )
    return None


def _utc(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _hours(window: Window, day: dt.date, zone: dt.tzinfo) -> tuple[WallTime, WallTime]:
    last = day if window.start < window.end else day + dt.timedelta(days=1)
    opens = dt.datetime.combine(day, window.start, zone)
    closes = dt.datetime.combine(last, window.end.replace(fold=1), zone)
    return WallTime(opens.timestamp()), WallTime(closes.timestamp())
