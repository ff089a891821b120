"""Answers of the configuration before those of DNS."""

from __future__ import annotations

import asyncio

import pytest

from penstock.mail.configuration import StaticAnswer
from penstock.net.static import STATIC_TTL, StaticResolver
from penstock.routing.answer import AddressResult, MxResult, NoData, NoSuchDomain
from penstock.sim.resolver import FakeResolver, addresses, mx

STATIC = {
    "example.test": StaticAnswer(mx=((10, "mx.example.test"), (20, "mx.real.example"))),
    "mx.example.test": StaticAnswer(a=("127.0.0.1",), aaaa=("::1",)),
    "both.test": StaticAnswer(mx=((0, "."),), a=("127.0.0.2",)),
    "nothing.test": StaticAnswer(),
}


def resolver() -> tuple[StaticResolver, FakeResolver]:
    """A resolver with static answers, and what it asks otherwise."""
    otherwise = FakeResolver(
        mx={"real.example": mx("10 mx.example.test"), "nothing.test": mx("10 wrong.example")},
        addresses={"mx.real.example": addresses("192.0.2.1"), "example.test": addresses("192.0.2.9")},
    )
    return StaticResolver(STATIC, otherwise), otherwise


@pytest.mark.parametrize(
    ("name", "mx_answer", "address_answer"),
    [
        ("example.test", mx("10 mx.example.test", "20 mx.real.example", ttl=STATIC_TTL), NoData(STATIC_TTL)),
        ("mx.example.test", NoData(STATIC_TTL), addresses("::1", "127.0.0.1", ttl=STATIC_TTL)),
        ("both.test", mx("0 .", ttl=STATIC_TTL), addresses("127.0.0.2", ttl=STATIC_TTL)),
        ("nothing.test", NoData(STATIC_TTL), NoData(STATIC_TTL)),
    ],
)
def test_a_static_name_has_what_is_given_and_nothing_else(
    name: str, mx_answer: MxResult, address_answer: AddressResult
) -> None:
    """For all record types: what is not given does not exist, whatever DNS would say."""
    static, otherwise = resolver()
    assert asyncio.run(static.mx(name)) == mx_answer
    assert asyncio.run(static.addresses(name)) == address_answer
    assert not otherwise.questions


def test_other_names_are_asked_of_dns() -> None:
    """A domain of DNS may point to a static host, and a static domain to a host of DNS."""
    static, otherwise = resolver()
    assert asyncio.run(static.mx("real.example")) == mx("10 mx.example.test")
    assert asyncio.run(static.addresses("mx.real.example")) == addresses("192.0.2.1")
    assert asyncio.run(static.mx("sub.example.test")) == NoSuchDomain()
    assert otherwise.questions.total() == 3


def test_an_address_that_is_none_is_refused() -> None:
    """The configuration has been checked before; this is the second line."""
    with pytest.raises(ValueError, match="does not appear to be"):
        StaticResolver({"x.test": StaticAnswer(a=("localhost",))}, FakeResolver())
