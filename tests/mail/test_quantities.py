"""Durations, sizes and rates: every spelling that KumoMTA has, and nothing else."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.mail.duration import QuantityError, Seconds, parse_byte_size, parse_duration
from penstock.mail.rate import Rate, parse_rate

DURATIONS: list[tuple[str | float, float]] = [
    ("5m", 300),
    ("5 min", 300),
    ("17 mins", 1020),
    ("24 hours", 86_400),
    ("1 day", 86_400),
    ("90s", 90),
    ("300", 300),
    (300, 300),
    (0, 0),
    (1.5, 1.5),
    ("1.5h", 5400),
    ("1h30m", 5400),
    ("1h 30m", 5400),
    ("1 hour 30 minutes", 5400),
    ("  5m  ", 300),
    ("5 M", 300),
    ("250ms", 0.25),
    ("2 weeks", 1_209_600),
    ("1d12h", 129_600),
    *[(f"2 {unit}", 2 * seconds) for unit, seconds in [("s", 1), ("sec", 1), ("secs", 1), ("second", 1), ("seconds", 1)]],
    *[(f"2{unit}", 2 * seconds) for unit, seconds in [("m", 60), ("min", 60), ("mins", 60), ("minute", 60), ("minutes", 60)]],
    *[(f"2{unit}", 2 * seconds) for unit, seconds in [("h", 3600), ("hr", 3600), ("hrs", 3600), ("hour", 3600), ("hours", 3600)]],
    *[(f"2{unit}", 2 * seconds) for unit, seconds in [("d", 86_400), ("day", 86_400), ("days", 86_400), ("w", 604_800)]],
    *[(f"2{unit}", 2 * seconds) for unit, seconds in [("msec", 0.001), ("milliseconds", 0.001)]],
]  # fmt: skip

NO_DURATIONS: list[str | float] = [
    "", " ", "m", "5 parsecs", "5mm", "-5m", "+5m", "1h30", "30 1h", "5,m", "1,000s", "1_0s", "5m!", "five minutes",
    "٥m", "５m", "5\u00b5s", "0x10", "1e3s", "1e3", ".5s", "5.s", "5 m/s", "inf", "nan", "10\u212a", "5\x00m",
    "9" * 5000, "9" * 5000 + "s", "101 * 366d", "40000d", -1, -0.5, True, False, 1e18, 10**400, 10**5000,
    math.inf, -math.inf, math.nan,
]  # fmt: skip

SIZES: list[tuple[str | int, int]] = [
    ("256MiB", 256 * 1024**2),
    ("256 KB", 256_000),
    ("20MB", 20_000_000),
    ("20MiB", 20 * 1024**2),
    ("64k", 65_536),
    ("64K", 65_536),
    ("1M", 1024**2),
    ("1g", 1024**3),
    ("2GiB", 2 * 1024**3),
    ("2 gb", 2_000_000_000),
    ("1TiB", 1024**4),
    ("1TB", 10**12),
    ("10b", 10),
    ("1,000", 1000),
    ("1_000_000", 1_000_000),
    ("1,000 kB", 1_000_000),
    ("000", 0),
    ("0" * 5000, 0),
    (0, 0),
    (123, 123),
    (1024**6, 1024**6),
]

NO_SIZES: list[str | int] = [
    "", "k", "-1", "+1", "1.5G", "1 KiBs", "1e6", "0x10", "1__0", "1,,0", ",1", "1_", "1,", "٣", "１０", "10\u212a", "1 k b",
    "9" * 5000, "9" * 21, "2000000 TiB", 1024**6 + 1, 10**5000, -1, True,
]  # fmt: skip

RATES: list[tuple[str, Rate]] = [
    ("5/minute", Rate(5, Seconds(60.0), 5)),
    ("100/s", Rate(100, Seconds(1.0), 100)),
    ("10/2s,max_burst=1", Rate(10, Seconds(2.0), 1)),
    ("2/hr", Rate(2, Seconds(3600.0), 2)),
    ("10000/h", Rate(10_000, Seconds(3600.0), 10_000)),
    ("1,000/h", Rate(1000, Seconds(3600.0), 1000)),
    ("1_000/h", Rate(1000, Seconds(3600.0), 1000)),
    ("local:5/m", Rate(5, Seconds(60.0), 5, local=True)),
    ("LOCAL: 5 / M", Rate(5, Seconds(60.0), 5, local=True)),
    (" 5 / 10 minutes , max_burst = 3 ", Rate(5, Seconds(600.0), 3)),
    ("1,000,000,000/d,max_burst=1,000", Rate(1_000_000_000, Seconds(86_400.0), 1000)),
    ("1/1_000s", Rate(1, Seconds(1000.0), 1)),
    *[
        (f"3/{period}", Rate(3, Seconds(1.0), 3))
        for period in ("s", "sec", "secs", "second", "seconds", "Seconds")
    ],
    *[(f"3/{period}", Rate(3, Seconds(60.0), 3)) for period in ("m", "min", "mins", "minute", "minutes")],
    *[(f"3/{period}", Rate(3, Seconds(3600.0), 3)) for period in ("h", "hr", "hrs", "hour", "hours")],
    *[(f"3/{period}", Rate(3, Seconds(86_400.0), 3)) for period in ("d", "day", "days")],
]

NO_RATES: list[str] = [
    "", "5", "/m", "5/", "5//m", "0/s", "-1/s", "+1/s", "1.5/s", "5/0s", "5/m,max_burst=0", "5/m,max_burst", "5/m,burst=1",
    "5/ms", "5/ss", "5/ds", "5/w", "5/fortnight", "local5/m", "remote:5/m", "5/m,max_burst=1,max_burst=2", "٥/m", "５/m",
    "5/\u017f", "1,,0/s", "1_/s", "_1/s", "1e3/s", "5 per minute", "9" * 30 + "/s", "5/" + "9" * 30 + "s", "1000000001/s", "5/m;",
    "1/36501 days", "1/999999999 days",
]  # fmt: skip


def name(value: object) -> str:
    """A short id for a case; numbers of thousands of digits cannot even be shown."""
    return repr(value)[:40] if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"


@pytest.mark.parametrize(("written", "seconds"), DURATIONS, ids=name)
def test_a_duration_is_read_in_every_spelling(written: str | float, seconds: float) -> None:
    """A bare number is seconds."""
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize("written", NO_DURATIONS, ids=name)
def test_what_is_no_duration_is_refused_with_what_would_be_one(written: str | float) -> None:
    """Nothing but a QuantityError, of one short printable line."""
    with pytest.raises(QuantityError) as refusal:
        parse_duration(written)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(("written", "octets"), SIZES, ids=name)
def test_a_size_is_read_in_every_spelling(written: str | int, octets: int) -> None:
    """``KiB`` and ``k`` are 1024, ``kB`` is 1000; ``,`` and ``_`` part thousands."""
    assert parse_byte_size(written) == octets


@pytest.mark.parametrize("written", NO_SIZES, ids=name)
def test_what_is_no_size_is_refused_with_what_would_be_one(written: str | int) -> None:
    """Nothing but a QuantityError, of one short printable line."""
    with pytest.raises(QuantityError) as refusal:
        parse_byte_size(written)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(("written", "rate"), RATES, ids=name)
def test_a_rate_is_read_in_every_spelling(written: str, rate: Rate) -> None:
    """``[local:]N/[k]period[,max_burst=B]``; the burst is the count unless it is given."""
    assert parse_rate(written) == rate


@pytest.mark.parametrize("written", NO_RATES, ids=name)
def test_what_is_no_rate_is_refused_with_what_would_be_one(written: str) -> None:
    """Milliseconds above all: "5/ms" must not be taken for five a minute."""
    with pytest.raises(QuantityError) as refusal:
        parse_rate(written)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 200


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(1, 10**9), st.booleans())
@example(1, 1_234_567, 1, False)
@example(5, 60, 5, True)
def test_a_rate_that_is_written_is_read_as_the_same(count: int, period: int, burst: int, local: bool) -> None:
    """``str()`` loses nothing, however long the period."""
    rate = Rate(count, Seconds(float(period)), burst, local)
    assert parse_rate(str(rate)) == rate


@given(st.one_of(st.text(), st.text("0123456789,_./ smhdkKib:=local\u0663\u212a")))
def test_any_text_is_a_quantity_or_a_quantity_error(text: str) -> None:
    """Nothing else is ever raised, and what passes is in range."""
    for parse in (parse_duration, parse_byte_size):
        with suppress(QuantityError):
            assert 0 <= parse(text) < 2**63
    try:
        rate = parse_rate(text)
    except QuantityError:
        return
    assert rate.count > 0
    assert rate.period >= 1
