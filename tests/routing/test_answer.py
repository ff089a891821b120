"""What the A and the AAAA answer of one host say together."""

from __future__ import annotations

import pytest

from penstock.mail.duration import Seconds
from penstock.routing.answer import (
    HALF_ANSWER_TTL,
    AddressResult,
    LookupFailed,
    NoData,
    NoSuchDomain,
    merge_addresses,
)
from penstock.sim.resolver import addresses

FAILED = LookupFailed("SERVFAIL")
V4 = addresses("192.0.2.1", ttl=600)
V6 = addresses("2001:db8::1", ttl=900)

MERGED: dict[str, tuple[AddressResult, AddressResult, AddressResult]] = {
    "both": (V4, V6, addresses("2001:db8::1", "192.0.2.1", ttl=600)),
    "IPv4 only": (V4, NoData(Seconds(60.0)), V4),
    "IPv6 only": (NoData(Seconds(60.0)), V6, V6),
    "IPv6 unknown": (V4, FAILED, addresses("192.0.2.1", ttl=HALF_ANSWER_TTL)),
    "IPv4 found, name denied": (V4, NoSuchDomain(), V4),
    "IPv4 unknown, no IPv6": (FAILED, NoData(), FAILED),
    "IPv4 unknown, name denied": (FAILED, NoSuchDomain(), FAILED),
    "none": (NoData(Seconds(60.0)), NoData(Seconds(30.0)), NoData(Seconds(30.0))),
    "no such name": (NoSuchDomain(Seconds(60.0)), NoSuchDomain(), NoSuchDomain(Seconds(60.0))),
    "no such name by one": (NoData(), NoSuchDomain(), NoSuchDomain()),
}


@pytest.mark.parametrize(("ipv4", "ipv6", "merged"), MERGED.values(), ids=MERGED.keys())
def test_addresses_win_then_doubt_then_absence(
    ipv4: AddressResult, ipv6: AddressResult, merged: AddressResult
) -> None:
    """An address that is known is used; without any, an unknown family leaves the host unknown."""
    assert merge_addresses(ipv4, ipv6) == merged
