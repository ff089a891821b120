"""Questions to real nameservers, by dnspython (docs/decisions/0003-dns-library.md). What routing asks; hooks ask by
``policy.dns``, and nothing else knows dnspython.

A stub resolver (RFC 1034 5.3.1): nameservers do the recursion and follow aliases; we read the chain in their answer, and take the smallest TTL
along it. UDP with EDNS and a payload of 1232 octets, which no path fragments (dnsflagday.net/2020), TCP where an answer is truncated. Answers
from elsewhere, with another id or to another question are ignored (RFC 5452). Names are absolute: search domains are never used. No cache
here: ``routing.cache`` holds decisions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset

from penstock.mail.configuration import Endpoint
from penstock.mail.duration import Seconds
from penstock.mail.reply import printable
from penstock.routing.answer import (
    AddressAnswer,
    AddressResult,
    Exchange,
    LookupFailed,
    MxAnswer,
    MxResult,
    NoData,
    NoSuchDomain,
    merge_addresses,
)

LOG = logging.getLogger(__name__)

#: What a lookup may take, as in KumoMTA.
LIFETIME: Final = Seconds(5.0)
#: For one nameserver to answer before the next is asked: two dead ones before a live one still leave time.
TRY: Final = Seconds(1.5)
EDNS_PAYLOAD: Final = 1232
RESOLV_CONF: Final = Path("/etc/resolv.conf")

_Missing = NoSuchDomain | NoData | LookupFailed


class _NotConfiguredError(Exception):
    """There is no nameserver to ask."""


class DnsResolver:
    """The resolver of ``routing.ports`` on ``nameservers``, asked in their order; on the system's (``resolv_conf``) if there are none.

    ``resolv_conf`` is read at the first question and again whenever it has changed. While it cannot be read or names no server, every
    question is a ``LookupFailed`` that says so. ``lifetime`` bounds one question, its repetitions included.
    """

    def __init__(
        self,
        nameservers: Sequence[Endpoint] = (),
        *,
        resolv_conf: Path = RESOLV_CONF,
        lifetime: Seconds = LIFETIME,
    ) -> None:
        self._lifetime = lifetime
        self._resolv_conf = resolv_conf
        self._resolv_conf_state: tuple[int, int, int] | None = None
        self._backend = dns.asyncbackend.get_backend("asyncio")
        given = [dns.nameserver.Do53Nameserver(endpoint.address, endpoint.port) for endpoint in nameservers]
        self._given = self._configured(given) if given else None
        self._system: dns.asyncresolver.Resolver | None = None

    async def mx(self, name: str) -> MxResult:
        """The MX records of a domain."""
        answer = await self._ask(name, dns.rdatatype.MX)
        if not isinstance(answer, dns.message.ChainingResult):
            return answer
        exchanges = tuple(
            # to_text writes every octet that is no plain one as an escape, so hostile names stay recognisable and harmless.
            Exchange(int(record.preference), record.exchange.to_text(omit_final_dot=True))
            for record in answer.answer or ()
        )
        return MxAnswer(exchanges, Seconds(float(answer.minimum_ttl)))

    async def addresses(self, name: str) -> AddressResult:
        """The IPv6 and IPv4 addresses of a host, together; both questions are asked at once."""
        async with asyncio.TaskGroup() as group:
            ipv4 = group.create_task(self._addresses(name, dns.rdatatype.A), name=f"A of {name}")
            ipv6 = group.create_task(self._addresses(name, dns.rdatatype.AAAA), name=f"AAAA of {name}")
        return merge_addresses(ipv4.result(), ipv6.result())

    async def _addresses(self, name: str, kind: dns.rdatatype.RdataType) -> AddressResult:
        answer = await self._ask(name, kind)
        if not isinstance(answer, dns.message.ChainingResult):
            return answer
        addresses = tuple(ip_address(record.address) for record in answer.answer or ())
        return AddressAnswer(addresses, Seconds(float(answer.minimum_ttl)))

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> dns.message.ChainingResult | _Missing:
        """The records of one type, or what stands for them. Raises for nothing that a network or a peer does."""
        try:
            answer = await self._current().resolve(
                _absolute(name),
                kind,
                search=False,
                raise_on_no_answer=False,
                lifetime=self._lifetime,
                backend=self._backend,
            )
            return _read(answer.response, answer.chaining_result)
        except dns.resolver.NXDOMAIN as error:
            return _read_nxdomain(error)
        except (dns.exception.DNSException, _NotConfiguredError, OSError, ValueError) as error:
            LOG.info("%s of %s: %s", kind.name, name, printable(str(error)))
            return LookupFailed(_reason(error))

    def _current(self) -> dns.asyncresolver.Resolver:
        """The resolver to ask; _NotConfiguredError if the system's configuration names none."""
        if self._given is not None:
            return self._given
        try:
            status = self._resolv_conf.stat()
            state = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._system is None or state != self._resolv_conf_state:
                self._system = None
                read = dns.resolver.Resolver(filename=str(self._resolv_conf))
                self._system = self._configured(read.nameservers)
                self._system.rotate = read.rotate
                self._resolv_conf_state = state
        except (OSError, ValueError, dns.resolver.NoResolverConfiguration) as error:
            self._system = None
            raise _NotConfiguredError(f"{self._resolv_conf}: {error}") from error
        return self._system

    @staticmethod
    def _configured(nameservers: Sequence[str | dns.nameserver.Nameserver]) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = nameservers
        resolver.timeout = TRY
        resolver.use_edns(0, 0, EDNS_PAYLOAD)
        return resolver


def _absolute(name: str) -> dns.name.Name:
    """``name`` as labels: a backslash in it is an octet and no escape. DNSException if DNS cannot carry it."""
    return dns.name.Name([*(label.encode("utf-8") for label in name.split(".")), b""])


def _read(
    response: dns.message.QueryMessage, chain: dns.message.ChainingResult
) -> dns.message.ChainingResult | _Missing:
    if response.flags & dns.flags.TC:
        # By UDP it would have been asked for again. Part of an MX set is another set, and another site.
        return LookupFailed("truncated answer")
    if chain.answer is not None:
        return chain
    if response.answer and not chain.cnames:
        return LookupFailed("an answer to another question")
    kinds = {records.rdtype for records in response.authority}
    if dns.rdatatype.NS in kinds and dns.rdatatype.SOA not in kinds and not chain.cnames:
        # RFC 2308 2.2: a referral looks like "no data" but for its NS records. That server does not do recursion for us.
        return LookupFailed("a referral instead of an answer")
    return NoData(_negative_ttl(response, chain))


def _read_nxdomain(error: dns.resolver.NXDOMAIN) -> _Missing:
    for response in error.responses().values():  # type: ignore[no-untyped-call]  # dnspython leaves it untyped
        try:
            return NoSuchDomain(_negative_ttl(response, response.resolve_chaining()))
        except dns.exception.DNSException as contradiction:
            return LookupFailed(_reason(contradiction))
    return NoSuchDomain()


def _negative_ttl(response: dns.message.QueryMessage, chain: dns.message.ChainingResult) -> Seconds | None:
    """RFC 2308 5: the smaller of the SOA's TTL and its minimum, and of the aliases before; None without an SOA."""
    if any(records.rdtype == dns.rdatatype.SOA for records in response.authority):
        return Seconds(float(chain.minimum_ttl))
    return None


def _reason(error: BaseException) -> str:
    """A few words for a reply. What a server sent is not repeated, nor is who it was."""
    match error:
        case dns.exception.Timeout():
            return "timeout"
        case dns.resolver.NoNameservers():
            errors = error.kwargs.get("errors") or [(None, None, None, "no nameserver", None)]
            last = errors[-1][3]
            return last if isinstance(last, str) else _reason(last)
        case _NotConfiguredError():
            return "no nameserver is configured"
        case dns.name.LabelTooLong() | dns.name.EmptyLabel() | dns.name.NameTooLong():
            return "not a name that DNS can carry"
        case OSError():
            return "no nameserver can be reached"
        case _:
            return "malformed answer"
