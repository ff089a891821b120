"""A message as octets: fields found as they are, and edits that leave every other octet alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.mail.message import Field, field_value, fields, find_fields, header_end, without_fields

TENANT = [b"x-tenant"]


def values(content: bytes, name: bytes = b"x-tenant") -> list[bytes]:
    """The values of the fields called ``name``."""
    return [field_value(content, field) for field in find_fields(content, [name]).get(name, [])]


FOUND: dict[str, tuple[bytes, list[bytes]]] = {
    "plain": (b"X-Tenant: acme\r\n\r\nbody", [b"acme"]),
    "mixed case": (b"x-TeNaNt: acme\r\n\r\n", [b"acme"]),
    "no space": (b"X-Tenant:acme\r\n\r\n", [b"acme"]),
    "space before the colon (RFC 5322 4.5)": (b"X-Tenant \t : acme\r\n\r\n", [b"acme"]),
    "folded": (b"X-Tenant:\r\n acme\r\n\r\n", [b"acme"]),
    "folded twice, with tabs": (b"X-Tenant: a\r\n\tb\r\n \t c\r\nTo: x\r\n\r\n", [b"a\tb \t c"]),
    "folded over an empty line of spaces (RFC 5322 4.2)": (b"X-Tenant: a\r\n  \r\n b\r\n\r\n", [b"a   b"]),
    "empty": (b"X-Tenant:\r\n\r\n", [b""]),
    "duplicated": (b"X-Tenant: a\r\nTo: x\r\nx-tenant: b\r\nX-TENANT : a\r\n\r\n", [b"a", b"b", b"a"]),
    "last, no body": (b"To: x\r\nX-Tenant: a\r\n", [b"a"]),
    "last, no line end": (b"To: x\r\nX-Tenant: a", [b"a"]),
    "only octets": (b"X-Tenant: \xff\x00\x80\r\n\r\n", [b"\xff\x00\x80"]),
    "in the body": (b"To: x\r\n\r\nX-Tenant: a\r\n", []),
    "in the body of a message without header": (b"\r\nX-Tenant: a\r\n\r\n", []),
    "in the fold of another": (b"To: x\r\n X-Tenant: a\r\n\r\n", []),
    "in the value of another": (b"To: X-Tenant: a\r\n\r\n", []),
    "longer name": (b"X-Tenants: a\r\nX-X-Tenant: b\r\n\r\n", []),
    "no colon": (b"X-Tenant\r\n\r\n", []),
    "behind a line that is no field": (b"To: x\r\nno field\r\nX-Tenant: a\r\n\r\n", []),
    "before a line that is no field": (b"X-Tenant: a\r\nno field\r\nX-Tenant: b\r\n\r\n", [b"a"]),
    "behind a first line that is no field": (b">From x\r\nX-Tenant: a\r\n\r\n", []),
    "behind a first line that begins with a space": (b" To: x\r\nX-Tenant: a\r\n\r\n", []),
    "behind a separator of other software": (b"\x1cX-Tenant: a\r\n\r\n", []),
    "empty message": (b"", []),
    "only an empty line": (b"\r\n", []),
    "only a line end of a field": (b"X-Tenant:", [b""]),
    "space in the name": (b"X- Tenant: a\r\n\r\n", []),
    "behind a bare LF": (b"To: x\nX-Tenant: a\r\n\r\n", []),
}  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), FOUND.values(), ids=FOUND.keys())
def test_fields_are_found_by_name_as_they_are_written(content: bytes, expected: list[bytes]) -> None:
    """RFC 5322 2.2 and 4.5: in any case, folded, repeated, with obsolete space; never in a body or in another field."""
    assert values(content) == expected


@pytest.mark.parametrize(
    ("content", "end"),
    [
        (b"", 0),
        (b"\r\n", 0),
        (b"\r\nbody", 0),
        (b"A: b\r\n", 6),
        (b"A: b", 4),
        (b"A: b\r\n\r\nbody\r\n\r\n", 6),
        (b"A: b\r\nC: d\r\n\r\n", 12),
    ],
)
def test_the_header_section_ends_before_the_first_empty_line(content: bytes, end: int) -> None:
    """RFC 5322 2.1: past the line end of its last field."""
    assert header_end(content) == end


def test_fields_come_in_order_and_cover_the_header_section() -> None:
    """Each begins where the one before it ends."""
    content = b"A: 1\r\nB : 2\r\n 3\r\nC:4\r\n\r\nD: 5\r\n"
    found = list(fields(content))
    assert [field.name for field in found] == [b"A", b"B", b"C"]
    assert [content[field.start : field.end] for field in found] == [
        b"A: 1\r\n",
        b"B : 2\r\n 3\r\n",
        b"C:4\r\n",
    ]
    assert found[-1].end == header_end(content)


NAMES = st.sampled_from([b"X-Tenant", b"x-tenant", b"X-CAMPAIGN", b"To", b"X-Tenants", b"A"])
FIELDS = st.tuples(
    NAMES,
    st.sampled_from([b":", b" :", b"\t:", b""]),
    st.lists(st.sampled_from([b" ", b"\r\n ", b"\r\n\t", b"a", b"X-Tenant: b", b"\xff", b"\n", b"\r", b"."]), max_size=5).map(b"".join),
).map(b"".join)  # fmt: skip
MESSAGES = st.tuples(
    st.lists(
        st.one_of(FIELDS, FIELDS, st.sampled_from([b"no field", b" fold", b"\x1c: x", b":"])), max_size=6
    ),
    st.sampled_from([b"", b"\r\n", b"\r\n\r\n", b"\r\n\r\nX-Tenant: body\r\n\r\nmore"]),
).map(lambda parts: b"\r\n".join(parts[0]) + parts[1])


@given(MESSAGES)
@example(b"X-Tenant: a\r\nX-Campaign: b\r\n\r\n")
def test_finding_fields_is_reading_them_all_and_keeping_those_called_so(content: bytes) -> None:
    """The short way and the long way agree."""
    names = [b"x-tenant", b"x-campaign"]
    expected: dict[bytes, list[Field]] = {}
    for field in fields(content):
        if field.name.lower() in names:
            expected.setdefault(field.name.lower(), []).append(field)
    assert find_fields(content, names) == expected


@given(MESSAGES)
def test_cutting_fields_out_leaves_every_other_octet(content: bytes) -> None:
    """What is left is the message without those slices, and the fields are gone from it."""
    found = find_fields(content, TENANT).get(b"x-tenant", [])
    rest = without_fields(content, found)
    gone = {place for field in found for place in range(field.start, field.end)}
    assert rest == bytes(octet for place, octet in enumerate(content) if place not in gone)
    assert all(before.end <= after.start for before, after in pairwise(found))


@given(
    st.lists(
        st.sampled_from([b"To: x\r\n", b"Subject: y\r\n z\r\n", b"X-Tenant: a\r\n", b"x-tenant :\r\n b\r\n"])
    ),
    st.sampled_from([b"", b"\r\n", b"\r\nbody\r\n", b"\r\nX-Tenant: c\r\n"]),
)
def test_of_a_well_formed_message_no_field_called_so_is_left(lines: Sequence[bytes], body: bytes) -> None:
    """Header fields that name a tenant never reach the wire."""
    content = b"".join(lines) + body
    rest = without_fields(content, find_fields(content, TENANT).get(b"x-tenant", []))
    assert not find_fields(rest, TENANT)
    assert rest.endswith(body)


def test_order_of_what_is_cut_out_does_not_matter() -> None:
    """Fields may be given in any order."""
    content = b"A: 1\r\nB: 2\r\nC: 3\r\n\r\n"
    first, second, third = fields(content)
    assert without_fields(content, [third, first]) == b"B: 2\r\n\r\n"
    assert without_fields(content, [second]) == b"A: 1\r\nC: 3\r\n\r\n"
    assert without_fields(content, []) == content


LARGE: dict[str, bytes] = {
    "100,000 other fields": b"A: b\r\n" * 100_000,
    "100,000 fields called so": b"X-Tenant: b\r\n" * 100_000,
    "one field folded 100,000 times": b"A: b\r\n" + b" c\r\n" * 100_000,
    "one line of 4 MB": b"A: " + b"x" * 4_000_000 + b"\r\n",
    "a name of 4 MB": b"x" * 4_000_000 + b": y\r\n",
    "4 MB that are no field": b"x" * 4_000_000 + b"\r\n",
    "a million fields without a name": b":\r\n" * 1_000_000,
}


@pytest.mark.parametrize("header", LARGE.values(), ids=LARGE.keys())
def test_a_hostile_header_section_costs_little(header: bytes) -> None:
    """CPU time in proportion to size, a second at the very most."""
    content = b"To: x\r\n" + header + b"X-Tenant: acme\r\n\r\nbody\r\n"
    begin = time.process_time()
    rest = without_fields(content, find_fields(content, TENANT).get(b"x-tenant", []))
    assert time.process_time() - begin < 5.0
    assert rest.endswith(b"body\r\n")
