"""Ids of messages and names of queues."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.duration import WallTime
from penstock.mail.ids import IdSource
from penstock.mail.queue_name import QueueName, is_label, parse_queue_name

ID = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")
NOW = WallTime(1_763_668_800.0)


def test_an_id_is_32_hexadecimal_digits_that_begin_with_the_time() -> None:
    """RFC 9562 5.7: milliseconds, version 7, variant 10."""
    made = IdSource(draw=(1 << 128) - 1).next(NOW)
    assert ID.fullmatch(made)
    assert int(made[:12], 16) == 1_763_668_800_000


def test_ids_of_one_millisecond_are_in_the_order_in_which_they_were_made() -> None:
    """A hundred thousand of them, all different."""
    source = IdSource(7)
    made = [source.next(NOW) for _ in range(100_000)]
    assert made == sorted(set(made))


def test_a_clock_that_steps_back_repeats_nothing_and_keeps_the_order() -> None:
    """Ids go on from where they were until the clock has caught up."""
    source = IdSource(7)
    made = [source.next(WallTime(NOW + step)) for step in (0, 10, -3600, -3600, 9.999, 10, 10.001)]
    assert all(before < after for before, after in pairwise(made))
    assert int(made[-1][:12], 16) == 1_763_668_810_001


@given(st.lists(st.floats(-1e12, 1e13), min_size=2, max_size=30), st.integers(0, 1 << 64))
def test_ids_only_go_up_whatever_the_clock_says(times: list[float], draw: int) -> None:
    """Before 1970 and past the year 10889 too."""
    source = IdSource(draw)
    made = [source.next(WallTime(time)) for time in times]
    assert all(ID.fullmatch(each) for each in made)
    assert all(before < after for before, after in pairwise(made))


def test_two_sources_never_make_the_same() -> None:
    """What was drawn at the start of a process tells its ids from all others'."""
    first, second = IdSource(1), IdSource(1 << 41)
    assert not {first.next(NOW) for _ in range(1000)} & {second.next(NOW) for _ in range(1000)}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("example.com", QueueName("example.com")),
        ("acme@example.com", QueueName("example.com", "acme")),
        ("spring:acme@example.com", QueueName("example.com", "acme", "spring")),
        ("spring:@example.com", QueueName("example.com", None, "spring")),
        ("example.com!relay.example", QueueName("example.com", None, None, "relay.example")),
        (
            "spring:acme@example.com!relay.example",
            QueueName("example.com", "acme", "spring", "relay.example"),
        ),
        ("[IPv6:::1]", QueueName("[IPv6:::1]")),
        ("acme@[IPv6:::1]!relay.example:2525", QueueName("[IPv6:::1]", "acme", None, "relay.example:2525")),
    ],
)
def test_a_queue_name_is_written_and_read(written: str, name: QueueName) -> None:
    """Each part but the domain is optional."""
    assert str(name) == written
    assert parse_queue_name(written) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "acme@",
        "@example.com",
        ":@example.com",
        ":acme@example.com",
        "a:b:c@d",
        "x!",
        "!x",
        "a!b!c",
        "a b@c",
    ],
)
def test_what_is_no_queue_name_is_refused(text: str) -> None:
    """An empty part is no part that was left out."""
    with pytest.raises(ValueError, match="no queue name"):
        parse_queue_name(text)


LABELS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":@!"), min_size=1, max_size=20
)
DOMAINS = st.from_regex(r"[a-z0-9.-]{1,20}|\[IPv6:[0-9a-f:]{2,9}\]", fullmatch=True)


@given(DOMAINS, st.one_of(st.none(), LABELS), st.one_of(st.none(), LABELS), st.one_of(st.none(), DOMAINS))
def test_every_queue_name_can_be_read_back(
    domain: str, tenant: str | None, campaign: str | None, routing_domain: str | None
) -> None:
    """And the domain that decides where its mail goes is the routing domain, where there is one."""
    name = QueueName(domain, tenant, campaign, routing_domain)
    assert parse_queue_name(str(name)) == name
    assert name.next_hop == (routing_domain or domain)


@given(st.text())
def test_any_text_is_a_queue_name_that_is_written_as_it_came_or_none(text: str) -> None:
    """Nothing but ValueError, and no two texts for one queue."""
    try:
        name = parse_queue_name(text)
    except ValueError:
        return
    assert str(name) == text


@pytest.mark.parametrize(
    ("text", "holds"),
    [("acme", True), ("a.b_c-d+~", True), ("x" * 128, True), ("x" * 129, False), ("", False), ("a b", False)]
    + [(f"a{sign}b", False) for sign in ":@!\n\x00é\u2028"],
)
def test_a_label_is_printable_ascii_without_separators(text: str, holds: bool) -> None:
    """1 to 128 characters; what would make a queue name ambiguous is refused where names are given."""
    assert is_label(text) is holds
