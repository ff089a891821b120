"""``[dns.static]``: answers that win over DNS. A name given there has the records given there and no others, whatever DNS says of it."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from penstock.mail.configuration import StaticAnswer
from penstock.mail.duration import Seconds
from penstock.routing.answer import AddressAnswer, AddressResult, Exchange, MxAnswer, MxResult, NoData
from penstock.routing.ports import Resolver

#: For how long a static answer is believed: a dictionary lookup is all that another question costs.
STATIC_TTL: Final = Seconds(60.0)


class StaticResolver:
    """Answers from ``static``, by lower-case name without a final dot; names that are not in it are asked of ``otherwise``.

    ValueError if an address in ``static`` is none; the configuration has been checked before.
    """

    def __init__(self, static: Mapping[str, StaticAnswer], otherwise: Resolver) -> None:
        self._mx: dict[str, MxResult] = {}
        self._addresses: dict[str, AddressResult] = {}
        self._otherwise = otherwise
        for name, answer in static.items():
            exchanges = tuple(Exchange(preference, host) for preference, host in answer.mx)
            addresses = tuple(ip_address(text) for text in (*answer.aaaa, *answer.a))
            self._mx[name] = MxAnswer(exchanges, STATIC_TTL) if exchanges else NoData(STATIC_TTL)
            self._addresses[name] = AddressAnswer(addresses, STATIC_TTL) if addresses else NoData(STATIC_TTL)

    async def mx(self, name: str) -> MxResult:
        """The MX records of a domain."""
        given = self._mx.get(name)
        return await self._otherwise.mx(name) if given is None else given

    async def addresses(self, name: str) -> AddressResult:
        """The IPv6 and IPv4 addresses of a host, together."""
        given = self._addresses.get(name)
        return await self._otherwise.addresses(name) if given is None else given
