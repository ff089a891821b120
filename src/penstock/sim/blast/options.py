"""What a blast is to send, where to, how fast; and how people write it on a command line."""

from __future__ import annotations

import re
import string
from typing import Final

import msgspec

from penstock.mail.address import AddressError, parse_address, parse_domain
from penstock.mail.configuration import Endpoint
from penstock.mail.duration import QuantityError, Seconds, parse_byte_size
from penstock.mail.rate import Rate

#: A sink tells tenants apart in two octets; a thousand is more than anybody reads.
WEIGHTS_LIMIT: Final = 1000
RECIPIENTS_LIMIT: Final = 1000
CONNECTIONS_LIMIT: Final = 20_000
SIZE_LIMIT: Final = 256 * 1024**2
_PLACEHOLDERS: Final = {"n": 0, "r": 0, "tenant": "t"}
# field-name (RFC 5322 2.2)
_HEADER_NAME = re.compile(r"[!-9;-~]+")
_HEADER_VALUE = re.compile(r"[!-~]+(?: [!-~]+)*")
_WEIGHT = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?", re.ASCII)


class OptionError(ValueError):
    """An option cannot be used; ``str()`` of it names it and says what would be right."""


class BlastOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The load.

    ``to_server`` None sends straight into the attached sink: the control measurement, without any server between. ``rate`` None is as fast
    as the connections allow. ``count`` 0 and ``duration`` None are no end; whatever comes first ends the blast. ``size`` (octets, header
    included) and ``recipients`` are lowest and highest of a uniform choice. Keys of the mappings are chosen by their weights; an empty
    one of ``tenants`` or ``campaigns`` sends no such field. ``local_parts`` and ``sender`` may say ``{n}`` (the message's number), ``{r}``
    (the recipient's, from 0) and ``{tenant}``. ``messages_per_connection`` 0 is no limit. ``pipelining`` is used only where offered.
    ``sink`` are the endpoints of the attached sink; empty: none. ``grace`` is how long its receipts are waited for at the end,
    ``timeout`` how long a message may be on its connection, and an introduction may take.
    """

    to_server: Endpoint | None
    connections: int = 10
    rate: Rate | None = None
    count: int = 0
    duration: Seconds | None = None
    size: tuple[int, int] = (10_240, 10_240)
    tenants: dict[str, float] = {}
    tenant_header: str = "X-Tenant"
    campaigns: dict[str, float] = {}
    campaign_header: str = "X-Campaign"
    domains: dict[str, float] = msgspec.field(default_factory=lambda: {"blast.test": 1.0})
    recipients: tuple[int, int] = (1, 1)
    local_parts: dict[str, float] = msgspec.field(default_factory=lambda: {"user-{n}-{r}": 1.0})
    sender: str = "sender@blast.test"
    seed: int | None = None
    pipelining: bool = True
    messages_per_connection: int = 0
    sink: tuple[Endpoint, ...] = ()
    grace: Seconds = Seconds(30.0)
    timeout: Seconds = Seconds(60.0)

    def check(self) -> None:
        """OptionError for the first thing that cannot be."""
        _within("connections", self.connections, 1, CONNECTIONS_LIMIT)
        _within("size", self.size[0], 1, SIZE_LIMIT)
        _within("size", self.size[1], self.size[0], SIZE_LIMIT)
        _within("recipients", self.recipients[0], 1, RECIPIENTS_LIMIT)
        _within("recipients", self.recipients[1], self.recipients[0], RECIPIENTS_LIMIT)
        _within("count", self.count, 0, 10**12)
        _within("messages-per-connection", self.messages_per_connection, 0, 10**9)
        if self.to_server is None and not self.sink:
            raise OptionError("--to-server sink needs a sink: add --sink 127.0.0.1:0")
        if self.to_server is not None and self.to_server.port == 0:
            raise OptionError("--to-server needs a port")
        self._check_addresses()
        for name in (self.tenant_header, self.campaign_header):
            if not _HEADER_NAME.fullmatch(name):
                raise OptionError(f"{name!r} is no name of a header field")
        for value in (*self.tenants, *self.campaigns):
            if not _HEADER_VALUE.fullmatch(value) or len(value) > 200:
                raise OptionError(
                    f"{value!r} cannot stand in a header field: printable ASCII, up to 200 characters"
                )

    def _check_addresses(self) -> None:
        try:
            for domain in self.domains:
                if not domain.isascii():
                    raise OptionError(f"--domains: {domain!r} is not ASCII; write A-labels")
                parse_domain(domain)
            for pattern in self.local_parts:
                parse_address(_filled("--local-part", pattern) + "@blast.test")
            if self.sender:
                parse_address(_filled("--sender", self.sender))
        except AddressError as error:
            raise OptionError(f"--domains, --local-part and --sender make addresses: {error}") from error
        if not all(pattern.isascii() for pattern in (*self.local_parts, self.sender)):
            raise OptionError("--local-part and --sender are ASCII")
        if self.recipients[1] > 1 and not all("{r}" in pattern for pattern in self.local_parts):
            raise OptionError(
                "--local-part needs {r} where a message has several recipients: they must differ"
            )


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise OptionError(f"--{name}: {value} is out of range; use {low} to {high}")


def _filled(name: str, pattern: str) -> str:
    """The pattern with sample values, its longest possible number included; OptionError for a placeholder that does not exist."""
    try:
        fields = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise OptionError(f"{name}: {pattern!r} has a brace too many or too few") from error
    for _, field, format_spec, conversion in fields:
        if field is not None and (field not in _PLACEHOLDERS or format_spec or conversion):
            raise OptionError(f"{name}: {{{field}}} is unknown; there are {{n}}, {{r}} and {{tenant}}")
    return pattern.format(n=10**9, r=RECIPIENTS_LIMIT, tenant="t")


def parse_weights(name: str, text: str) -> dict[str, float]:
    """``"a=3,b=1"`` as weights by name; a name alone weighs 1. OptionError, naming the option ``name``, otherwise."""
    weights: dict[str, float] = {}
    for item in text.split(","):
        key, equals, weight = item.strip().rpartition("=")
        if not equals:
            key, weight = weight, "1"
        if not key or not _WEIGHT.fullmatch(weight) or not 0 < float(weight) <= 1e9:
            raise OptionError(f"{name}: {item.strip()!r} is no weight; write a=3,b=1, each above 0")
        if key in weights:
            raise OptionError(f"{name}: {key!r} is named twice")
        weights[key] = float(weight)
    if len(weights) > WEIGHTS_LIMIT:
        raise OptionError(f"{name}: at most {WEIGHTS_LIMIT} are possible")
    return weights


def parse_count_range(name: str, text: str) -> tuple[int, int]:
    """``"3"`` or ``"1-5"``; OptionError otherwise."""
    match = _RANGE.fullmatch(text.strip())
    if match is None or len(text) > 30:
        raise OptionError(f"{name}: {text!r} is no number and no range such as 1-5")
    low = int(match[1])
    return low, int(match[2]) if match[2] else low


def parse_size_range(name: str, text: str) -> tuple[int, int]:
    """``"10KiB"`` or ``"1KiB-1MiB"`` in octets; OptionError otherwise."""
    low, dash, high = text.partition("-")
    try:
        lowest = parse_byte_size(low)
        return lowest, parse_byte_size(high) if dash else lowest
    except QuantityError as error:
        raise OptionError(f"{name}: {error}") from error
