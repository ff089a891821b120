"""Endpoints of simulated servers."""

from __future__ import annotations

import pytest

from penstock.sim.endpoint import EndpointError, parse_endpoint


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("127.0.0.1:2526", "127.0.0.1:2526"),
        ("127.8.8.8:0", "127.8.8.8:0"),
        ("[::1]:25", "[::1]:25"),
        ("localhost:1", "127.0.0.1:1"),
    ],
)
def test_loopback_endpoints_are_read(text: str, written: str) -> None:
    """Both families, any loopback address, and the name that needs no looking up."""
    assert str(parse_endpoint(text)) == written


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1", ":25", "::1:25", "127.0.0.1:x", "127.0.0.1:65536", "1.2.3:25", "a.test:25", "[1]:2"],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    """With a hint of what would be one."""
    with pytest.raises(EndpointError, match=r"write|use"):
        parse_endpoint(text)


@pytest.mark.parametrize(
    "text", ["0.0.0.0:25", "[::]:25", "192.0.2.1:25", "[2001:db8::1]:25", "[::ffff:127.0.0.1]:25"]
)
def test_other_addresses_need_leave(text: str) -> None:
    """Simulated mail stays on the machine unless somebody says otherwise."""
    with pytest.raises(EndpointError, match="--allow-remote"):
        parse_endpoint(text)
    assert parse_endpoint(text, allow_remote=True).port == 25
