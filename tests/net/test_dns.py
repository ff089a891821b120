"""Questions to a nameserver on loopback that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.rcode
import pytest
import uvloop

from penstock.mail.configuration import Endpoint
from penstock.mail.duration import Seconds
from penstock.net.dns import EDNS_PAYLOAD, DnsResolver
from penstock.routing.answer import (
    AddressResult,
    Exchange,
    LookupFailed,
    MxAnswer,
    MxResult,
    NoData,
    NoSuchDomain,
)
from penstock.sim.resolver import addresses, mx

from .nameserver import SOA, Script, answer, nameserver, question

#: For questions that get an answer: loopback is quick, a busy machine is not.
PATIENT = Seconds(30.0)
#: For questions that get none.
IMPATIENT = Seconds(0.05)

Runner = Callable[[Coroutine[Any, Any, Any]], Any]
BOTH_LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


async def ask_mx(script: Script, name: str = "d.example", lifetime: Seconds = PATIENT) -> MxResult:
    """The MX answer for ``name`` from a nameserver with this script."""
    async with nameserver(script) as endpoint:
        return await DnsResolver([endpoint], lifetime=lifetime).mx(name)


async def ask_addresses(
    script: Script, name: str = "mx.example", lifetime: Seconds = PATIENT
) -> AddressResult:
    """The addresses of ``name`` from a nameserver with this script."""
    async with nameserver(script) as endpoint:
        return await DnsResolver([endpoint], lifetime=lifetime).addresses(name)


def records(*texts: str) -> Script:
    """Answer every question with those of the records that are of its type or an alias, and with an SOA if there are none."""

    def script(query: dns.message.Message, _is_tcp: bool) -> list[bytes]:
        kind, _ = question(query)
        fitting = [text for text in texts if f" {kind} " in text or " CNAME " in text]
        is_empty = not any(f" {kind} " in text for text in fitting)
        return [
            answer(
                query,
                *fitting,
                authority="example. 900 IN SOA " + SOA.format(minimum=60) if is_empty else None,
            )
        ]

    return script


@BOTH_LOOPS
def test_mx_records_come_with_their_smallest_ttl(run: Runner) -> None:
    """RFC 1035 3.3.9: preference and exchange, in no order; names without the final dot."""
    script = records("d.example. 300 IN MX 20 b.example.", "d.example. 60 IN MX 10 a.example.")
    found = run(ask_mx(script))
    assert isinstance(found, MxAnswer)
    assert set(found.exchanges) == {Exchange(10, "a.example"), Exchange(20, "b.example")}
    assert found.ttl == 60.0


@BOTH_LOOPS
def test_both_families_are_asked_for(run: Runner) -> None:
    """RFC 3596 2: A and AAAA, in one result."""
    script = records("mx.example. 300 IN A 192.0.2.1", "mx.example. 200 IN AAAA 2001:db8::1")
    assert run(ask_addresses(script)) == addresses("2001:db8::1", "192.0.2.1", ttl=200)


def test_a_host_of_one_family_has_the_addresses_of_that_one() -> None:
    """That there is no AAAA is no failure."""
    assert asyncio.run(ask_addresses(records("mx.example. 300 IN A 192.0.2.1"))) == addresses(
        "192.0.2.1", ttl=300
    )


def test_aliases_are_followed_and_their_ttl_counts() -> None:
    """RFC 1034 3.6.2: the answer is that of the canonical name, for as long as every link lasts."""
    script = records(
        "d.example. 20 IN CNAME e.example.",
        "e.example. 400 IN CNAME f.example.",
        "f.example. 300 IN MX 10 mx.example.",
    )
    assert asyncio.run(ask_mx(script)) == mx("10 mx.example", ttl=20)


def test_a_loop_of_aliases_is_a_failure() -> None:
    """Nothing is followed for ever."""
    script = records("d.example. 20 IN CNAME e.example.", "e.example. 20 IN CNAME d.example.")
    assert asyncio.run(ask_mx(script)) == LookupFailed("malformed answer")


def test_a_null_mx_comes_as_the_root() -> None:
    """RFC 7505 3: one record, preference 0, exchange ``.``."""
    assert asyncio.run(ask_mx(records("d.example. 300 IN MX 0 ."))) == mx("0 .")


def test_hostile_octets_of_a_name_come_as_escapes() -> None:
    """A name of DNS may hold a line end or a space; no raw one is ever in a result."""

    def script(query: dns.message.Message, _is_tcp: bool) -> list[bytes]:
        return [answer(query, r"d.example. 300 IN MX 10 a\010\032\000\\b.example.")]

    assert asyncio.run(ask_mx(script)) == mx(r"10 a\010\032\000\\b.example")


def scripted(rcode: dns.rcode.Rcode, authority: str | None = None) -> Script:
    """Answer every question with this code and no records."""
    return lambda query, _: [answer(query, rcode=rcode, authority=authority)]


ABSENT: dict[str, tuple[Script, MxResult]] = {
    "RFC 2308 5: minimum": (
        scripted(dns.rcode.NXDOMAIN, "example. 900 IN SOA " + SOA.format(minimum=60)),
        NoSuchDomain(Seconds(60.0)),
    ),
    "RFC 2308 5: TTL of the SOA": (
        scripted(dns.rcode.NXDOMAIN, "example. 30 IN SOA " + SOA.format(minimum=60)),
        NoSuchDomain(Seconds(30.0)),
    ),
    "RFC 2308 2.1: no SOA": (scripted(dns.rcode.NXDOMAIN), NoSuchDomain()),
    "RFC 2308 2.2: no data": (
        scripted(dns.rcode.NOERROR, "example. 900 IN SOA " + SOA.format(minimum=60)),
        NoData(Seconds(60.0)),
    ),
    "RFC 2308 2.2: no data, no SOA": (scripted(dns.rcode.NOERROR), NoData()),
    "RFC 2308 2.2: referral": (
        scripted(dns.rcode.NOERROR, "example. 900 IN NS ns.example."),
        LookupFailed("a referral instead of an answer"),
    ),
    "SERVFAIL": (scripted(dns.rcode.SERVFAIL), LookupFailed("SERVFAIL")),
    "REFUSED": (scripted(dns.rcode.REFUSED), LookupFailed("REFUSED")),
    "NOTIMP": (scripted(dns.rcode.NOTIMP), LookupFailed("NOTIMP")),
    "FORMERR": (scripted(dns.rcode.FORMERR), LookupFailed("FORMERR")),
    "YXDOMAIN": (scripted(dns.rcode.YXDOMAIN), LookupFailed("malformed answer")),
    "records of another name": (
        lambda query, _: [answer(query, "other.example. 300 IN MX 10 mx.example.")],
        LookupFailed("an answer to another question"),
    ),
    "NXDOMAIN with records": (
        lambda query, _: [answer(query, "d.example. 300 IN MX 10 mx.example.", rcode=dns.rcode.NXDOMAIN)],
        LookupFailed("malformed answer"),
    ),
}


@pytest.mark.parametrize(("script", "expected"), ABSENT.values(), ids=ABSENT.keys())
def test_absence_and_failure_are_kept_apart(script: Script, expected: MxResult) -> None:
    """Only NXDOMAIN and an empty answer say that there is nothing; whatever else goes wrong says nothing at all."""
    assert asyncio.run(ask_mx(script)) == expected


def test_a_nameserver_that_is_silent_times_out() -> None:
    """The question ends when its lifetime does."""
    assert asyncio.run(ask_mx(lambda _query, _is_tcp: [], lifetime=IMPATIENT)) == LookupFailed("timeout")
    assert asyncio.run(ask_addresses(lambda _query, _is_tcp: [], lifetime=IMPATIENT)) == LookupFailed(
        "timeout"
    )


def test_a_nameserver_that_is_not_there_is_a_failure() -> None:
    """Nobody listens on the port: nothing is raised."""

    async def ask() -> MxResult:
        async with nameserver(lambda _query, _is_tcp: []) as endpoint:
            pass
        return await DnsResolver([endpoint], lifetime=IMPATIENT).mx("d.example")

    assert isinstance(asyncio.run(ask()), LookupFailed)


def test_the_next_nameserver_is_asked_when_one_fails() -> None:
    """In their order; the first answer counts."""

    async def ask() -> MxResult:
        async with (
            nameserver(scripted(dns.rcode.SERVFAIL)) as first,
            nameserver(records("d.example. 300 IN MX 10 mx.example.")) as second,
        ):
            return await DnsResolver([first, second], lifetime=PATIENT).mx("d.example")

    assert asyncio.run(ask()) == mx("10 mx.example")


@BOTH_LOOPS
def test_a_truncated_answer_is_asked_for_again_by_tcp(run: Runner) -> None:
    """RFC 7766 5, and an answer far too large for any datagram: 1,000 exchanges."""
    texts = [f"d.example. 300 IN MX {n} mx{n}.example." for n in range(1000)]
    asked: list[bool] = []

    def script(query: dns.message.Message, is_tcp: bool) -> list[bytes]:
        asked.append(is_tcp)
        return [answer(query, *texts) if is_tcp else answer(query, truncated=True)]

    found = run(ask_mx(script))
    assert isinstance(found, MxAnswer)
    assert (len(found.exchanges), asked) == (1000, [False, True])


def test_a_truncated_answer_by_tcp_is_a_failure() -> None:
    """There is no third way to ask."""
    assert isinstance(asyncio.run(ask_mx(lambda query, _: [answer(query, truncated=True)])), LookupFailed)


def forged(change: Callable[[dns.message.Message], None]) -> Script:
    """A false answer, made from the true question by ``change``, and then the true answer."""

    def script(query: dns.message.Message, _is_tcp: bool) -> list[bytes]:
        false = dns.message.from_wire(query.to_wire())
        change(false)
        return [
            answer(false, "d.example. 300 IN MX 10 evil.example."),
            answer(query, "d.example. 300 IN MX 10 mx.example."),
        ]

    return script


def _other_id(query: dns.message.Message) -> None:
    query.id ^= 1


def _other_name(query: dns.message.Message) -> None:
    query.question[0].name = dns.name.from_text("other.example.")


@pytest.mark.parametrize("change", [_other_id, _other_name], ids=["another id", "another question"])
def test_an_answer_to_what_was_not_asked_is_ignored(change: Callable[[dns.message.Message], None]) -> None:
    """RFC 5452 9.1: the true answer, coming later, is the one that counts."""
    assert asyncio.run(ask_mx(forged(change))) == mx("10 mx.example")


def test_garbage_is_ignored_and_the_answer_after_it_counts() -> None:
    """A datagram that is no DNS message ends no question."""

    def script(query: dns.message.Message, _is_tcp: bool) -> list[bytes]:
        return [b"", b"\xff" * 40, query.to_wire()[:7], answer(query, "d.example. 300 IN MX 10 mx.example.")]

    assert asyncio.run(ask_mx(script)) == mx("10 mx.example")


def test_names_are_absolute_and_questions_small() -> None:
    """No search domain is tried; EDNS offers what no path fragments, and asks for recursion."""
    queries: list[dns.message.Message] = []

    def script(query: dns.message.Message, _is_tcp: bool) -> list[bytes]:
        queries.append(query)
        return [answer(query, rcode=dns.rcode.NXDOMAIN)]

    assert asyncio.run(ask_mx(script, "localhost")) == NoSuchDomain()
    assert [question(query) for query in queries] == [("MX", "localhost.")]
    assert (queries[0].edns, queries[0].payload) == (0, EDNS_PAYLOAD)
    assert queries[0].flags & dns.flags.RD


@pytest.mark.parametrize(
    "name",
    ["a..example", "a" * 64 + ".example", "a." * 130 + "example", ""],
    ids=["empty", "label", "name", "none"],
)
def test_what_dns_cannot_carry_is_not_asked(name: str) -> None:
    """No name of RFC 1035 2.3.4, no question, and nothing raised."""
    asked: list[dns.message.Message] = []

    def script(query: dns.message.Message, _is_tcp: bool) -> list[bytes]:
        asked.append(query)
        return []

    assert asyncio.run(ask_mx(script, name)) == LookupFailed("not a name that DNS can carry")
    assert asked == []


def test_a_backslash_in_a_name_is_an_octet_and_no_escape() -> None:
    r"""``a\046b`` is one label of six octets, not ``a.b``."""
    names: list[dns.name.Name] = []

    def script(query: dns.message.Message, _is_tcp: bool) -> list[bytes]:
        names.append(query.question[0].name)
        return [answer(query, rcode=dns.rcode.NXDOMAIN)]

    asyncio.run(ask_mx(script, r"a\046b.example"))
    assert names[0].labels == (rb"a\046b", b"example", b"")


class TestTheSystemsNameservers:
    """Without nameservers of our own, those of ``/etc/resolv.conf``."""

    def reason(self, resolver: DnsResolver) -> str:
        """Why a question failed."""
        result = asyncio.run(resolver.mx("d.example"))
        assert isinstance(result, LookupFailed)
        return result.reason

    def test_an_unreadable_file_is_a_failed_lookup(self, tmp_path: Path) -> None:
        """It may be there for the next question; nothing is raised, at the start or later."""
        assert self.reason(DnsResolver(resolv_conf=tmp_path / "absent")) == "no nameserver is configured"

    @pytest.mark.parametrize(
        "content", [b"", b"search example.com\n", b"nameserver not-an-address\n", b"nameserver \xff\xfe\n"]
    )
    def test_a_file_that_names_no_nameserver_is_a_failed_lookup(self, tmp_path: Path, content: bytes) -> None:
        """Rubbish in the file is no nameserver."""
        file = tmp_path / "resolv.conf"
        file.write_bytes(content)
        assert self.reason(DnsResolver(resolv_conf=file)) == "no nameserver is configured"

    def test_the_file_is_read_again_when_it_changes(self, tmp_path: Path) -> None:
        """A machine that gets its network late, or moves, needs no restart."""
        file = tmp_path / "resolv.conf"
        resolver = DnsResolver(resolv_conf=file)
        assert self.reason(resolver) == "no nameserver is configured"
        file.write_text("nameserver 192.0.2.53\nsearch example.com\noptions rotate\n")
        current = resolver._current()
        assert (list(current.nameservers), current.rotate) == (["192.0.2.53"], True)
        assert resolver._current() is current
        file.write_text("nameserver 192.0.2.54\nnameserver 192.0.2.55\n")
        assert list(resolver._current().nameservers) == ["192.0.2.54", "192.0.2.55"]
        file.unlink()
        assert self.reason(resolver) == "no nameserver is configured"

    def test_given_nameservers_leave_the_file_unread(self, tmp_path: Path) -> None:
        """What the operator wrote wins."""
        resolver = DnsResolver([Endpoint("127.0.0.1", 5353)], resolv_conf=tmp_path / "absent")
        assert [str(server) for server in resolver._current().nameservers] == ["Do53:127.0.0.1@5353"]
