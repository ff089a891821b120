"""What values look like: every kind takes what it documents and refuses the rest with a reason, whatever TOML can hold."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.config import hosts, numbers, texts
from penstock.config.kinds import BOOLEAN, Kind, choice, either, list_of, one_or_more, set_of
from penstock.config.refusal import Fault, Refused, describe, quote
from penstock.config.suggestion import suggest
from penstock.mail.configuration import Endpoint, Reserve, Secret
from penstock.mail.duration import ByteCount, Seconds
from penstock.mail.rate import Rate

MOMENT = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
LENGTH = numbers.size(1, 1 << 40)
RESERVE = numbers.reserve(1 << 40)
WAIT = numbers.duration()
COUNT = numbers.integer(1, 100)
#: Every kind, for what must hold for all of them.
KINDS: dict[str, Kind[Any]] = {
    "boolean": BOOLEAN,
    "choice": choice({"a": 1, "b": 2}, later=["c"]),
    "either": either("auto", None, COUNT),
    "list": list_of(COUNT, "[1]"),
    "set": set_of(COUNT, "[1]"),
    "one or more": one_or_more(texts.PATH, '["x"]'),
    "integer": COUNT,
    "limit": numbers.limit(1),
    "duration": WAIT,
    "size": LENGTH,
    "rate": numbers.RATE,
    "reserve": RESERVE,
    "path": texts.PATH,
    "data file": texts.DATA_FILE,
    "banner": texts.BANNER,
    "field name": texts.FIELD_NAME,
    "label": texts.LABEL,
    "keyword": texts.KEYWORD,
    "credential": texts.CREDENTIAL,
    "metadata": texts.META,
    "domain name": hosts.DOMAIN_NAME,
    "endpoint": hosts.ENDPOINT,
    "name server": hosts.NAMESERVER,
    "network": hosts.NETWORK,
    "network name": hosts.NETWORK_NAME,
    "IPv4": hosts.IPV4,
    "IPv6": hosts.IPV6,
    "MX": hosts.MX,
}


def faults(kind: Kind[Any], value: object) -> tuple[Fault, ...]:
    """What is wrong with a value; any other exception than ``Refused`` ends the test."""
    try:
        kind.parse(value)
    except Refused as error:
        return error.faults
    return ()


toml_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(alphabet="0123456789.:/[]%smhdkKMiB,_-+ef٣ ")
    | st.datetimes()
    | st.dates()
    | st.times(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@settings(deadline=None)
@given(value=toml_values)
def test_a_kind_takes_a_value_or_refuses_it_in_one_printable_line(kind: Kind[Any], value: object) -> None:
    """No value of TOML makes anything else happen."""
    for fault in faults(kind, value):
        assert fault.what
        assert f"{fault.at}{fault.what}{fault.hint}".isprintable()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    "value",
    [10**5000, -(10**5000), "9" * 5000, "x" * 100_000, float("nan"), float("inf"), 1e308, -0.0, "\0", "٣", "1_0", "+1", "", " "],
    ids=lambda value: repr(value)[:12] if not isinstance(value, int) else "huge",
)  # fmt: skip
def test_extreme_values_are_refused_or_taken_shortly(kind: Kind[Any], value: object) -> None:
    """Too long to be written, to be converted, or to be shown."""
    assert all(len(fault.what) + len(fault.hint) < 400 for fault in faults(kind, value))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (COUNT, 100, 100),
        (numbers.limit(1), 10, 10),
        (numbers.limit(1), "1,000", 1000),
        (numbers.limit(1), "1_000_000", 1_000_000),
        (numbers.limit(1), "1000", 1000),
        (numbers.limit(1), "local:5", 5),
        (WAIT, "17 mins", 1020.0),
        (WAIT, "1h30m", 5400.0),
        (WAIT, 90, 90.0),
        (WAIT, 0.25, 0.25),
        (LENGTH, "20MiB", 20 << 20),
        (LENGTH, "1,000 kB", 1_000_000),
        (RESERVE, "5%", Reserve(share=0.05)),
        (RESERVE, "0.5 %", Reserve(share=0.005)),
        (RESERVE, "0%", Reserve()),
        (RESERVE, "2GiB", Reserve(octets=ByteCount(2 << 30))),
        (RESERVE, 0, Reserve()),
        (hosts.ENDPOINT, "127.0.0.1:0", Endpoint("127.0.0.1", 0)),
        (hosts.ENDPOINT, "[0:0::1]:65535", Endpoint("::1", 65535)),
        (hosts.NAMESERVER, "[::1]", Endpoint("::1", 53)),
        (hosts.MX, "mx.Example.test", (10, "mx.example.test")),
        (hosts.MX, "0 .", (0, ".")),
        (hosts.DOMAIN_NAME, "MÜNCHEN.example", "xn--mnchen-3ya.example"),
        (texts.FIELD_NAME, "X-Tenant", "x-tenant"),
        (texts.KEYWORD, "chunking", "CHUNKING"),
        (texts.CREDENTIAL, "pässword", "pässword"),
        (texts.META, {"a": "ä", "b": ""}, {"a": "ä", "b": ""}),
        (numbers.RATE, "1,000/h,max_burst=10", Rate(1000, Seconds(3600.0), 10)),
        (hosts.NETWORK_NAME, "192.0.2.1", "192.0.2.1/32"),
        (hosts.NETWORK_NAME, "2001:DB8:0::/32", "2001:db8::/32"),
        (set_of(COUNT, "[1]"), [2, 1], frozenset({1, 2})),
        (either("auto", None, COUNT), "auto", None),
        (either("auto", None, COUNT), 5, 5),
        (one_or_more(texts.PATH, '["x"]'), "a", ("a",)),
        (one_or_more(texts.PATH, '["x"]'), ["a", "b"], ("a", "b")),
    ],
)
def test_documented_spellings_are_taken(kind: Kind[Any], value: object, expected: object) -> None:
    """As the documentation has them."""
    assert kind.parse(value) == expected


@pytest.mark.parametrize(
    ("kind", "value", "fragment"),
    [
        (COUNT, 101, "101 is out of range"),
        (COUNT, True, "found a boolean (true)"),
        (COUNT, MOMENT, "found a date-time"),
        (numbers.limit(1), "1,00", "is no number"),
        (numbers.limit(1), "local:", "is no number"),
        (numbers.limit(1), "٣", "is no number"),
        (numbers.limit(1), "0", "0 is out of range"),
        (WAIT, "1e3", "is no duration"),
        (WAIT, "-1s", "is no duration"),
        (LENGTH, -1, "a size is a number of octets"),
        (LENGTH, "", "is no size"),
        (RESERVE, "91%", "is no share of a file system"),
        (RESERVE, "-5%", "is no share of a file system"),
        (RESERVE, "5 percent", "is no size"),
        (RESERVE, "2TiB", "is out of range"),
        (RESERVE, 5, "keeps nothing free"),
        (RESERVE, "5KiB", "keeps nothing free"),
        (RESERVE, True, "a size such as"),
        (hosts.ENDPOINT, "127.0.0.1:", '"" is no port'),
        (hosts.ENDPOINT, "127.0.0.1:+25", '"+25" is no port'),
        (hosts.ENDPOINT, "127.0.0.1:٢٥", "is no port"),
        (hosts.ENDPOINT, "[127.0.0.1]:25", "an IPv4 address in brackets"),
        (hosts.ENDPOINT, "[fe80::1%eth0]:25", "zones are not supported"),
        (hosts.NAMESERVER, "127.0.0.1:0", '"0" is no port'),
        (hosts.NAMESERVER, "::1:53", "is no address with a port"),
        (hosts.NETWORK, "10.0.0.0/", '"/" is no prefix length'),
        (hosts.NETWORK, "10.0.0.0/٨", "is no prefix length"),
        (hosts.NETWORK, "010.0.0.0/8", "is no IP address"),
        (hosts.NETWORK, "fe80::1%eth0", "zones are not supported"),
        (hosts.MX, "70000 mx.test", "70000 is out of range"),
        (hosts.MX, "10 mx.test mx2.test", "is no MX"),
        (hosts.DOMAIN_NAME, "a..b", "is no valid domain name"),
        (hosts.DOMAIN_NAME, "example.com.", "is no valid domain name"),
        (texts.PATH, "a\nb", "not printable"),
        (texts.PATH, "x" * 5000, "too long"),
        (texts.BANNER, "x" * 201, "has 201 characters"),
        (texts.LABEL, "a:b", "cannot name a tenant"),
        (texts.KEYWORD, "XCLIENT", "no EHLO keyword of ours"),
        (texts.CREDENTIAL, "", "is empty"),
        (texts.META, {"a b": "x"}, "is no name of metadata"),
        (texts.META, {"a": "x" * 4097}, "has 4097 characters"),
        (texts.META, {str(number): "x" for number in range(65)}, "has 65 names"),
        (numbers.RATE, "0/s", "is out of range"),
        (set_of(COUNT, "[1]"), [1, 1], "the same as [0]"),
    ],
)  # fmt: skip
def test_what_is_near_to_right_is_refused_with_a_reason(
    kind: Kind[Any], value: object, fragment: str
) -> None:
    """Python's own converters would take some of these."""
    with pytest.raises(Refused) as caught:
        kind.parse(value)
    assert fragment in str(caught.value)


@pytest.mark.parametrize("value", ["pass\0word", "password" * 200, ["password"], {"password": "password"}])
def test_what_is_wrong_with_a_password_is_said_without_it(value: object) -> None:
    """Problems are shown, logged, and pasted into tickets."""
    with pytest.raises(Refused) as caught:
        texts.CREDENTIAL.parse(value)
    assert "word" not in str(caught.value.faults)


def test_a_secret_is_not_in_what_shows_the_records_that_have_it() -> None:
    """It is a text all the same."""
    secret = texts.CREDENTIAL.parse("password")
    assert (secret, type(secret)) == ("password", Secret)
    assert "password" not in repr([secret])


def test_every_item_of_a_list_is_looked_at() -> None:
    """All bad ones are told by their index, repeated ones too."""
    with pytest.raises(Refused) as caught:
        list_of(COUNT, "[1]").parse([1, 0, 2, "3", 1])
    assert [fault.at for fault in caught.value.faults] == ["[1]", "[3]", "[4]"]


@settings(deadline=None)
@given(st.text())
def test_a_quoted_text_is_one_printable_line(text: str) -> None:
    """Whatever it holds."""
    assert quote(text).isprintable()
    assert len(quote(text)) < 1000


def test_values_are_described_by_the_words_of_toml() -> None:
    """An operator knows these words, and not Python's."""
    values: list[object] = [True, 5, 1.5, "a", [], {}, MOMENT, MOMENT.date(), MOMENT.time()]
    described = [describe(value) for value in values]
    assert described == [
        "a boolean (true)", "an integer (5)", "a float (1.5)", 'a string ("a")', "an array", "a table", "a date-time", "a date", "a time",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("retry_intervall", "retry_interval"), ("Retry-Interval", "retry_interval"), ("retryinterval", "retry_interval"),
        ("retry", None), ("colour", None), ("", None), ("max_age" * 100, None),
    ],
)  # fmt: skip
def test_a_near_miss_is_recognised_and_nothing_else(written: str, meant: str | None) -> None:
    """A wrong suggestion is worse than none."""
    assert suggest(written, ["retry_interval", "max_retry_interval", "max_age"]) == meant
