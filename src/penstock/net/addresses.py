"""Whether this host has the addresses that it is to listen on. Nothing is taken: each is tried with a port of the system's choice."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from penstock.mail.configuration import Endpoint
from penstock.mail.problem import Problem


def check_addresses(endpoints: Iterable[tuple[Endpoint, str]], file: str) -> list[Problem]:
    """A Problem for each endpoint whose address is none of this host's. ``str`` is the endpoint's key path in ``file``."""
    return [
        Problem(
            file,
            key,
            f"{endpoint.address} is no address of this host",
            "use one that 'ip address' lists, or 0.0.0.0 or [::] for all",
        )
        for endpoint, key in endpoints
        if not _is_here(endpoint.address)
    ]


def _is_here(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True
