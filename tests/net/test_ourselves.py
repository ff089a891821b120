"""Which addresses and ports are our own."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from penstock.mail.configuration import Endpoint
from penstock.net.ourselves import OwnEndpoints, is_local

ONE = [Endpoint("127.0.0.1", 2525), Endpoint("::1", 2525)]
ALL = [Endpoint("0.0.0.0", 2525), Endpoint("::", 2525)]
IPV4 = [Endpoint("0.0.0.0", 2525)]


@pytest.mark.parametrize(
    ("own", "address", "port", "expected"),
    [
        (ONE, "127.0.0.1", 2525, True),
        (ONE, "::1", 2525, True),
        (ONE, "::ffff:127.0.0.1", 2525, True),
        (ONE, "0.0.0.0", 2525, True),
        (ONE, "::", 2525, True),
        (ONE, "127.0.0.1", 25, False),
        (ONE, "127.0.0.2", 2525, False),
        (ONE, "192.0.2.1", 2525, False),
        (ALL, "127.0.0.1", 2525, True),
        (ALL, "127.0.0.2", 2525, True),
        (ALL, "0.0.0.0", 2525, True),
        (ALL, "::", 2525, True),
        (ALL, "::1", 2525, True),
        (ALL, "::ffff:127.0.0.1", 2525, True),
        (ALL, "192.0.2.1", 2525, False),
        (ALL, "255.255.255.255", 2525, False),
        (ALL, "2001:db8::1", 2525, False),
        (ALL, "127.0.0.1", 25, False),
        (IPV4, "::1", 2525, False),
        ([], "127.0.0.1", 25, False),
    ],
)
def test_ourselves_is_an_address_and_a_port_of_a_listener(
    own: list[Endpoint], address: str, port: int, expected: bool
) -> None:
    """RFC 5321 5.1. A listener on all addresses is every address of this host; an unspecified target is the loopback address."""
    assert OwnEndpoints(own)(ip_address(address), port) is expected


def test_addresses_for_documentation_are_nobodys() -> None:
    """RFC 5737, RFC 3849: asking the kernel sends nothing and finds them foreign."""
    assert not is_local(ip_address("198.51.100.1"))
    assert not is_local(ip_address("2001:db8::1"))
