"""The listening sockets of the server: taken from a service manager, or opened here; several at an address for several workers."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import msgspec

from penstock.cli.checking import endpoints
from penstock.mail.configuration import Configuration, Endpoint
from penstock.mail.problem import ConfigError, Problem
from penstock.net.listening import bind_all, endpoint_of, replicate

LOG = logging.getLogger(__name__)

#: The sockets at one address: one, or one for each worker.
Door = list[socket.socket]


class Doors(msgspec.Struct):
    """For each SMTP listener, and each HTTP listener, a door for each of its addresses."""

    smtp: list[list[Door]]
    http: list[list[Door]]

    def close(self) -> None:
        """Close everything: nobody is waited for any more."""
        for listener in (*self.smtp, *self.http):
            for door in listener:
                for each in door:
                    each.close()


def open_doors(
    path: Path, configuration: Configuration, workers: int, given: Iterable[socket.socket] = ()
) -> Doors:
    """Take every address, all or none; ConfigError. ``given`` are sockets that a service manager has opened, and are used where they fit."""
    handed = _by_address(given)
    wanted = list(endpoints(configuration))
    found = {key: handed.pop(_address(endpoint)) for endpoint, key in wanted if _address(endpoint) in handed}
    for door in handed.values():
        LOG.warning(
            "no listener is configured for %s, which the service manager has opened", endpoint_of(door[0])
        )
        for each in door:
            each.close()
    missing = [(endpoint, key) for endpoint, key in wanted if key not in found]
    for (_, key), opened in zip(missing, bind_all(missing, file=str(path)), strict=True):
        copies = workers if key.startswith("listener.smtp") else 1
        try:
            found[key] = replicate(opened, copies)
        except OSError as error:
            what = f"{endpoint_of(opened)} cannot be shared by {copies} workers: {error.strerror or error}"
            raise ConfigError([Problem(str(path), key, what, "write workers = 1")]) from error
    doors = iter(found[key] for _, key in wanted)
    smtp = [[next(doors) for _ in listener.listen] for listener in configuration.smtp_listeners]
    http = [[next(doors) for _ in listener.listen] for listener in configuration.http_listeners]
    return Doors(smtp, http)


def _by_address(given: Iterable[socket.socket]) -> dict[tuple[IPv4Address | IPv6Address, int], Door]:
    found: dict[tuple[IPv4Address | IPv6Address, int], Door] = {}
    for each in given:
        with contextlib.suppress(ValueError, IndexError):
            found.setdefault(_address(endpoint_of(each)), []).append(each)
    return found


def _address(endpoint: Endpoint) -> tuple[IPv4Address | IPv6Address, int]:
    return ip_address(endpoint.address), endpoint.port
