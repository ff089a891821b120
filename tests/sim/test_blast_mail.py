"""The messages of a blast, its options, and its schedule."""

from __future__ import annotations

import email
import email.policy
import zlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.configuration import Endpoint
from penstock.mail.duration import WallTime
from penstock.mail.rate import parse_rate
from penstock.sim.blast.mail import Mail, MailMaker
from penstock.sim.blast.options import (
    BlastOptions,
    OptionError,
    parse_count_range,
    parse_size_range,
    parse_weights,
)
from penstock.sim.blast.pace import Pace

SERVER = Endpoint("127.0.0.1", 2525)
NOW = WallTime(1_700_000_000.25)


def make(count: int = 1, seed: int = 1, **keys: object) -> list[Mail]:
    """Messages of these options."""
    options = BlastOptions(to_server=SERVER, **keys)  # type: ignore[arg-type]
    options.check()
    maker = MailMaker(options, 0xABC, seed)
    return [maker.make(number, NOW) for number in range(count)]


def test_a_message_has_what_a_sink_needs() -> None:
    """Id, time, digest of the body, tenant and campaign, and a header that Python's own parser finds nothing wrong with."""
    (mail,) = make(
        tenants={"acme": 1.0}, campaigns={"spring": 1.0}, tenant_header="X-T", campaign_header="X-C"
    )
    assert mail.content.endswith(b"\r\n.\r\n")
    content = mail.content[:-3]
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    body = content.partition(b"\r\n\r\n")[2]
    assert not parsed.defects
    assert (parsed["X-Blast-Id"], parsed["X-Blast-Sent"]) == ("00000abc-0", "1700000000.250000")
    assert int(parsed["X-Blast-Body"], 16) == zlib.crc32(body)
    assert (parsed["X-T"], parsed["X-C"], parsed["To"]) == ("acme", "spring", "user-0-0@blast.test")
    assert parsed["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"


@given(st.integers(1, 3000))
def test_a_message_has_its_size_and_only_whole_lines(size: int) -> None:
    """To the octet, where the header leaves room; no bare CR or LF, no line that begins with a dot or is too long."""
    content = make(size=(size, size))[0].content[:-3]
    lines = content.split(b"\r\n")
    assert lines.pop() == b""
    assert not any(
        b"\r" in line or b"\n" in line or line.startswith(b".") or len(line) > 998 for line in lines
    )
    header = len(content.partition(b"\r\n\r\n")[0]) + 4
    assert len(content) == max(size, header + 2)


def test_a_large_message_is_as_large_as_asked() -> None:
    """Beyond the block that small bodies are cut from."""
    assert len(make(size=(3_000_001, 3_000_001))[0].content) == 3_000_004


def test_the_same_seed_makes_the_same_messages() -> None:
    """Tenants, domains, sizes, recipients; another seed makes others."""
    keys = {
        "tenants": {"a": 3.0, "b": 1.0},
        "domains": {"x.test": 1.0, "y.test": 1.0},
        "size": (1000, 2000),
        "recipients": (1, 3),
    }
    assert make(50, 5, **keys) == make(50, 5, **keys) != make(50, 6, **keys)


def test_weights_and_ranges_hold() -> None:
    """Three tenants' messages to one, sizes and recipients within their bounds and at both ends of them."""
    mails = make(2000, tenants={"a": 3.0, "b": 1.0}, size=(1000, 1005), recipients=(1, 3))
    tenants = Counter(mail.tenant for mail in mails)
    assert 1400 < tenants[0] < 1600
    assert {len(mail.content) - 3 for mail in mails} == set(range(1000, 1006))
    assert {len(mail.recipients) for mail in mails} == {1, 2, 3}


def test_patterns_are_filled_in() -> None:
    """The message's number, the recipient's, and the tenant."""
    (_, mail) = make(2, local_parts={"tempfail-2-then-accept+{n}.{r}": 1.0}, sender="bounce+{n}@{tenant}.test", tenants={"t": 1.0},
                     recipients=(2, 2))  # fmt: skip
    assert mail.recipients == [
        b"tempfail-2-then-accept+1.0@blast.test",
        b"tempfail-2-then-accept+1.1@blast.test",
    ]
    assert mail.group() == (
        b"MAIL FROM:<bounce+1@t.test>\r\nRCPT TO:<"
        + b">\r\nRCPT TO:<".join(mail.recipients)
        + b">\r\nDATA\r\n"
    )


def test_the_null_reverse_path_can_be_sent() -> None:
    """An empty sender."""
    assert make(sender="")[0].mail == b"MAIL FROM:<>\r\n"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"connections": 0}, "--connections: 0"),
        ({"size": (0, 1)}, "--size"),
        ({"size": (10, 5)}, "--size"),
        ({"recipients": (1, 2000)}, "--recipients"),
        ({"recipients": (1, 2), "local_parts": {"u": 1.0}}, "{r}"),
        ({"local_parts": {"u{x}": 1.0}}, "{x}"),
        ({"local_parts": {"u{n.__class__}": 1.0}}, "unknown"),
        ({"local_parts": {"u{n": 1.0}}, "brace"),
        ({"local_parts": {"a b": 1.0}}, "make addresses"),
        ({"local_parts": {"ü{n}": 1.0}}, "ASCII"),
        ({"domains": {"no domain": 1.0}}, "make addresses"),
        ({"domains": {"bücher.test": 1.0}}, "A-labels"),
        ({"sender": "nobody"}, "make addresses"),
        ({"tenant_header": "X Tenant"}, "header field"),
        ({"tenants": {"a\r\nBcc: x": 1.0}}, "header field"),
        ({"to_server": None}, "--sink"),
        ({"to_server": Endpoint("127.0.0.1", 0)}, "port"),
        ({"count": -1}, "--count"),
    ],
)
def test_options_that_cannot_be_are_told(keys: dict[str, object], said: str) -> None:
    """By name, with what is right."""
    with pytest.raises(OptionError) as caught:
        BlastOptions(**{"to_server": SERVER, **keys}).check()  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_weights_are_read() -> None:
    """With and without a number; a name may have an equals sign of its own."""
    assert parse_weights("--t", "a=3, b=0.5,c") == {"a": 3.0, "b": 0.5, "c": 1.0}
    assert parse_weights("--t", "x=y=2") == {"x=y": 2.0}


@pytest.mark.parametrize(
    "text", ["", "a=", "a=-1", "a=0", "=1", "a,a=2", "a=1e3", "a=٣", ",".join(f"t{n}" for n in range(1001))]
)
def test_weights_that_are_none_are_told(text: str) -> None:
    """By the option's name."""
    with pytest.raises(OptionError, match="--t"):
        parse_weights("--t", text)


def test_ranges_are_read() -> None:
    """One value is both ends."""
    assert (parse_count_range("--r", "3"), parse_count_range("--r", "1-5")) == ((3, 3), (1, 5))
    assert (parse_size_range("--s", "10KiB"), parse_size_range("--s", "1k-1 MB")) == (
        (10240, 10240),
        (1024, 1_000_000),
    )
    for text in ("", "x", "1-", "-1", "1-2-3"):
        with pytest.raises(OptionError, match="--"):
            parse_count_range("--r", text)
    for text in ("", "x", "1k-", "1-2-3"):
        with pytest.raises(OptionError, match="--s"):
            parse_size_range("--s", text)


def test_at_a_rate_messages_are_due_at_their_own_times() -> None:
    """However late it is: the schedule does not wait for anybody."""
    pace = Pace(parse_rate("10/s"), 0, 100.0, 102.0)
    assert pace.due(100.0) == 100.0
    pace.next_number = 7
    assert pace.due(105.0) == pytest.approx(100.7)


def test_without_a_rate_a_message_is_due_when_it_can_be_sent() -> None:
    """A closed loop."""
    pace = Pace(None, 5, 100.0, None)
    assert pace.due(123.0) == 123.0
    assert pace.unsent(123.0) == 0


@pytest.mark.parametrize(
    ("count", "end", "begun", "now", "is_over", "unsent"),
    [
        (5, None, 4, 100.0, False, 0),
        (5, None, 5, 100.0, True, 0),
        (0, 102.0, 3, 101.05, False, 8),
        (0, 102.0, 3, 102.0, True, 17),
        (0, 102.0, 20, 102.0, True, 0),
        (10, 102.0, 3, 102.0, True, 7),
        (0, None, 50, 101.0, False, 0),
    ],
)
def test_a_blast_ends_by_count_or_by_time(
    count: int, end: float | None, begun: int, now: float, is_over: bool, unsent: int
) -> None:
    """Whatever comes first; what was due by then and was not begun is told."""
    pace = Pace(parse_rate("10/s"), count, 100.0, end)
    pace.next_number = begun
    assert (pace.is_over(now), pace.unsent(now)) == (is_over, unsent)


def test_progress_is_the_nearer_end() -> None:
    """By count or by time; nothing where there is none."""
    pace = Pace(None, 100, 0.0, 10.0)
    pace.next_number = 20
    assert pace.fraction(5.0) == 0.5
    assert pace.fraction(1.0) == 0.2
    assert Pace(None, 0, 0.0, None).fraction(3.0) is None
