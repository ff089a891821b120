"""PROXY headers of both versions: whole, octet by octet, and everything that is none."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.smtp.proxy import ProxyError, ProxyHeader, ProxyReader

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def version_2(command: int, family: int, block: bytes) -> bytes:
    """A header of version 2."""
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(block)) + block


TCP4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.25") + struct.pack("!HH", 40000, 25)
TCP6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::25")
    + struct.pack("!HH", 40000, 25)
)
V4 = ProxyHeader("192.0.2.1", 40000, "198.51.100.25", 25)
V6 = ProxyHeader("2001:db8::1", 40000, "2001:db8::25", 25)
LOCAL = ProxyHeader()


@pytest.mark.parametrize(
    ("octets", "header"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.25 40000 25\r\n", V4),
        (b"PROXY TCP6 2001:db8::1 2001:db8::25 40000 25\r\n", V6),
        (b"PROXY UNKNOWN\r\n", LOCAL),
        (b"PROXY UNKNOWN whatever it says\r\n", LOCAL),
        (version_2(1, 0x11, TCP4), V4),
        (version_2(1, 0x21, TCP6), V6),
        (version_2(1, 0x11, TCP4 + b"\x04\x00\x01x"), V4),
        (version_2(0, 0x00, b""), LOCAL),
        (version_2(0, 0x11, TCP4), LOCAL),
        (version_2(1, 0x00, b""), LOCAL),
        (version_2(1, 0x31, bytes(216)), LOCAL),
    ],
)
def test_a_header_is_read_however_it_comes(octets: bytes, header: ProxyHeader) -> None:
    """Whole with what follows it, octet by octet, and in two pieces."""
    reader = ProxyReader()
    assert reader.feed(octets + b"EHLO x\r\n") == header
    assert reader.rest == b"EHLO x\r\n"
    for cut in range(1, len(octets)):
        reader = ProxyReader()
        assert reader.feed(octets[:cut]) is None
        assert reader.feed(octets[cut:]) == header
    reader = ProxyReader()
    found = [reader.feed(octets[place : place + 1]) for place in range(len(octets))]
    assert found == [None] * (len(octets) - 1) + [header]


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO client.example\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.25 40000 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.25 40000\r\n",
        b"PROXY TCP4 2001:db8::1 198.51.100.25 40000 25\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.25 40000 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.25 65536 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.25 40000 25\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.25 40000 25\r\n",
        b"PROXY UNKNOWN" + b"x" * 200,
        SIGNATURE + b"\x11\x11\x00\x0c" + TCP4,
        SIGNATURE + b"\x22\x11\x00\x0c" + TCP4,
        version_2(1, 0x11, TCP4[:-1]),
        version_2(1, 0x21, TCP4),
        SIGNATURE + b"\x21\x11\xff\xff",
        b"\r\n\r\n\x00\r\nQUIX",
    ],
)
def test_what_is_no_header_is_an_error(octets: bytes) -> None:
    """Known from the first octet that cannot be in one, and never taken for anything else."""
    with pytest.raises(ProxyError):
        ProxyReader().feed(octets)


@given(st.binary(max_size=300))
def test_any_octets_are_a_header_or_the_beginning_of_one_or_an_error(octets: bytes) -> None:
    """Nothing else happens, and no more than a header is waited for."""
    reader = ProxyReader()
    try:
        found = reader.feed(octets)
    except ProxyError:
        return
    assert found is not None or len(octets) < 5000
