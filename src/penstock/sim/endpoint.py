"""Where simulated servers listen and load goes to: loopback only, unless somebody says otherwise."""

from __future__ import annotations

import ipaddress
import re

from penstock.mail.configuration import Endpoint

# host ":" port; an IPv6 address stands in brackets
_ENDPOINT = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+|localhost)):([0-9]{1,5})", re.ASCII)


class EndpointError(ValueError):
    """The text is no endpoint, or one that is not allowed; ``str()`` of it says what would be."""


def parse_endpoint(text: str, *, allow_remote: bool = False) -> Endpoint:
    """The endpoint ``127.0.0.1:2526``, ``[::1]:2526`` or ``localhost:2526`` (which is 127.0.0.1: no name is looked up).

    EndpointError if it is none, or if it is not a loopback address and ``allow_remote`` is not set.
    """
    match = _ENDPOINT.fullmatch(text.strip())
    if match is None:
        raise EndpointError(f"{text!r} is no address and port; write 127.0.0.1:2526 or [::1]:2526")
    host = match[1] or ("127.0.0.1" if match[2] == "localhost" else match[2])
    port = int(match[3])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise EndpointError(f"{host!r} is no IP address; write 127.0.0.1:2526 or [::1]:2526") from None
    if port > 65535:
        raise EndpointError(f"{port} is no port; use 1 to 65535, or 0 for any free one")
    if not address.is_loopback and not allow_remote:
        raise EndpointError(
            f"{address} is not a loopback address; simulated mail stays on this machine unless --allow-remote says otherwise"
        )
    return Endpoint(str(address), port)
