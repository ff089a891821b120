"""The names of hosts and of sites."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.routing.site import SITE_NAME_LIMIT, host_name, site_name

GMAIL = "gmail-smtp-in.l.google.com"

SITES = [
    (["mx.example.com"], "mx.example.com"),
    (["mta5.am0.yahoodns.net", "mta6.am0.yahoodns.net"], "(mta5|mta6).am0.yahoodns.net"),
    ([GMAIL, *(f"alt{n}.{GMAIL}" for n in range(1, 5))], f"(alt1|alt2|alt3|alt4)?.{GMAIL}"),
    (["a.example", "example"], "a?.example"),
    (["a.x.example", "b.x.example", "a.y.example", "b.y.example"], "(a|b).(x|y).example"),
    (["a.x.example", "b.y.example"], "(a.x|b.y).example"),
    (["a.y.example", "b.x.example"], "(a.y|b.x).example"),
    (["a.b.example", "example"], "(a.b)?.example"),
    (["mx.a.com", "mx.b.net"], "(mx.a.com|mx.b.net)"),
    (["mx.a.com", "mx.b.com"], "mx.(a|b).com"),
    (["com", "mx.a.com"], "(mx.a)?.com"),
    (["[192.0.2.1]"], "[192.0.2.1]"),
    (["[IPv6:2001:db8::1]"], "[IPv6:2001:db8::1]"),
]


@pytest.mark.parametrize(("hosts", "site"), SITES, ids=[site for _, site in SITES])
def test_hosts_are_factored_label_by_label_from_the_right(hosts: Sequence[str], site: str) -> None:
    """What the hosts share is written once, what differs as alternatives, what some lack as optional."""
    assert site_name(hosts) == site


def spelled(site: str) -> set[str]:
    """Every set of labels that a site's name stands for, read by its grammar and nothing else."""
    choices: list[list[str]] = []
    for part in re.findall(r"\([^)]*\)\??|[^.()]+", site):
        is_optional = part.endswith("?")
        alternatives = part.removesuffix("?").strip("()").split("|")
        choices.append(alternatives + ([""] if is_optional else []))
    return {".".join(label for label in choice if label) for choice in itertools.product(*choices)}


LABELS = st.sampled_from(["a", "b", "c", "mx1", "mx-2", "_x"])
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@given(st.sets(HOSTS, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_a_site_name_spells_exactly_its_hosts_in_whatever_order(hosts: set[str], order: object) -> None:
    """The name does not depend on the order, and two sets of hosts never share one: each can be read back from it."""
    given_order = sorted(hosts, key=lambda _: order.random())  # type: ignore[attr-defined]
    site = site_name(given_order)
    assert site == site_name(sorted(hosts))
    assert spelled(site) == hosts


def test_a_site_of_very_many_hosts_has_a_short_name_of_its_own() -> None:
    """Beyond the limit a digest stands for the hosts, and their common end stays readable."""
    hosts = [f"{letter * 30}.mx{n}.example.com" for n, letter in enumerate("abcdefghijklmnopqrstuvwxyz")]
    site = site_name(hosts)
    assert len(site) <= SITE_NAME_LIMIT
    assert re.fullmatch(r"\(26-hosts-[0-9a-f]{20}\)\.example\.com", site)
    assert site != site_name([*hosts[1:], "other.mx0.example.com"])


def test_a_site_of_no_hosts_is_an_error_of_the_caller() -> None:
    """There is no such site."""
    with pytest.raises(ValueError, match="at least one host"):
        site_name([])


HOST_NAMES = {
    "lower-case": ("mx.example.com", "mx.example.com"),
    "upper case": ("MX.Example.COM", "mx.example.com"),
    "final dot": ("mx.example.com.", "mx.example.com"),
    "underscore": ("_mx_1.example.com", "_mx_1.example.com"),
    "one label": ("localhost", "localhost"),
    "A-label": ("mx.xn--bcher-kva.example", "mx.xn--bcher-kva.example"),
    "63 octets": (f"{'a' * 63}.example", f"{'a' * 63}.example"),
    "root": (".", None),
    "nothing": ("", None),
    "two final dots": ("mx.example.com..", None),
    "empty label": ("mx..example.com", None),
    "space": ("mx example.com", None),
    "escaped space": ("mx\\032.example.com", None),
    "NUL": ("mx\x00.example.com", None),
    "line end": ("mx.example.com\n", None),
    "line end and a fake line": ("mx\n2026-01-01 delivered.example.com", None),
    "escape sequence": ("\x1b[2J.example.com", None),
    "slash": ("../../etc/passwd", None),
    "site syntax": ("(a|b)?.example.com", None),
    "U-label": ("mx.bücher.example", None),
    "letter that is lower-cased to an ASCII one": ("mx.\u212aelvin.example", None),
    "64 octets": (f"{'a' * 64}.example", None),
    "254 octets": (".".join(["a" * 49] * 5) + ".abcd", None),
    "255 octets and more": ("a." * 200 + "example", None),
    "hyphen first": ("-mx.example.com", None),
    "IPv4 address": ("192.0.2.1", None),
    "short IPv4 address": ("127.1", None),
    "IPv6 address": ("2001:db8::1", None),
    "address literal": ("[192.0.2.1]", None),
}


@pytest.mark.parametrize(("text", "host"), HOST_NAMES.values(), ids=HOST_NAMES.keys())
def test_only_names_of_hosts_are_let_through(text: str, host: str | None) -> None:
    """DNS carries any octet in a name; what gets into plans and logs is a plain lower-case host name, or it is dropped."""
    assert host_name(text) == host


@given(st.text(max_size=300))
def test_no_text_at_all_gets_a_dangerous_octet_through(text: str) -> None:
    """Whatever a record holds, the result has only the octets of host names, 253 at most."""
    host = host_name(text)
    assert host is None or re.fullmatch(r"[a-z0-9._-]{1,253}", host)
