"""The messages of relay-1 are what their names say, and the comparison sees every difference."""

from __future__ import annotations

import pytest

from benchmarks.messages import (
    LABELS,
    MIB,
    border_cases,
    border_offsets,
    difference,
    dot_cases,
    expected,
    padded,
    simple_cases,
    wire,
    without_received,
)


def test_only_the_label_fields_are_expected_to_go() -> None:
    """Whatever their case and folding; not fields of similar names, not text, not folded lines of others."""
    message = (
        b"x-tenant:\r\n acme\r\n\tand more\r\nX-Tenant-Id: 1\r\nX-CAMPAIGN : spring\r\nA: b\r\n X-Tenant: c\r\n"
        b"\r\nX-Tenant: d\r\n"
    )
    assert expected(message) == b"X-Tenant-Id: 1\r\nA: b\r\n X-Tenant: c\r\n\r\nX-Tenant: d\r\n"
    assert expected(LABELS + b"A: b\r\n\r\nx\r\n") == b"A: b\r\n\r\nx\r\n"


@pytest.mark.parametrize("message", [b"", b"\r\n", b"\r\nX-Tenant: body\r\n", b"A: b\r\n", b"A: b\r\n\r\n"])
def test_a_message_without_labels_is_expected_as_it_is(message: bytes) -> None:
    """The expectation changes nothing that it does not remove."""
    assert expected(message) == message


def test_the_received_field_ends_where_its_folding_ends() -> None:
    """The earlier hop's field behind it belongs to the message."""
    ours = b"Received: from a\r\n\tby b;\r\n\tnow\r\n"
    rest = b"Received: from c\r\n\r\nx\r\n"
    assert without_received(ours + rest) == (ours, rest)
    assert without_received(b"A: b\r\n") == (b"", b"A: b\r\n")


def test_a_difference_is_named_with_its_place() -> None:
    """One octet less, more or other is a difference."""
    assert difference(b"abc", b"abc") == ""
    assert difference(b"abc", b"abd").startswith("differs at octet 2 of 3")
    assert difference(b"abc", b"ab").startswith("differs at octet 2 of 3")
    assert difference(b"abc", b"abcd").startswith("differs at octet 3 of 3")


@pytest.mark.parametrize("length", [*range(200, 400), *border_offsets(), 20 * MIB])
def test_padding_has_exactly_its_length_in_whole_short_lines(length: int) -> None:
    """So that the next line begins at that offset."""
    message = padded(length)
    assert len(message) == length
    assert message.endswith(b"\r\n")
    assert max(map(len, message[-4000:].split(b"\r\n"))) <= 80


def test_a_border_case_has_its_dot_at_the_border() -> None:
    """On the way in at every offset of what is sent to us, on the way out at every offset of what is sent by us."""
    added = 77
    read = {case.message.find(b"\r\n.") + 2 for case in border_cases(added) if "is read" in case.name}
    sent = {case.message.find(b"\r\n.") + 2 + added for case in border_cases(added) if "is sent" in case.name}
    assert read == sent == set(border_offsets())


def test_cut_cases_are_sent_whole() -> None:
    """However a message is cut into segments, they make up its mail data, and the cut is where it should be."""
    for case in [*dot_cases(), *border_cases(0)]:
        segments = list(wire(case))
        assert b"".join(segments).endswith(b"\r\n.\r\n")
        if case.name.endswith("cut there"):
            assert segments[1].startswith(b"..")
        if case.name.endswith("octet by octet"):
            assert {len(segment) for segment in segments} == {1}


def test_the_big_messages_are_as_big_as_they_say() -> None:
    """20,000,000 octets, and 20 MiB to the octet; all lines within 998 octets (RFC 5322 2.1.1)."""
    sizes = {case.name: len(case.message) for case in simple_cases()}
    assert sizes["20,000,000 octets"] == 20_000_000
    assert sizes["20 MiB, the limit, to the octet"] == 20 * MIB
    for case in simple_cases():
        assert max(map(len, case.message.split(b"\r\n"))) <= 998
