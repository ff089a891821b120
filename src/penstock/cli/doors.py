"""The listening sockets of the server: taken from a service manager, or opened here; several at an address for several workers."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from types import MappingProxyType

import msgspec

from penstock.cli.checking import endpoints
from penstock.mail.configuration import Configuration, Endpoint
from penstock.mail.problem import ConfigError, Problem
from penstock.net.listening import bind_all, endpoint_of, replicate

LOG = logging.getLogger(__name__)

#: The sockets at one address: one, or one for each worker.
Door = list[socket.socket]


class Doors(msgspec.Struct):
    """For each SMTP listener, and each HTTP listener, a door for each of its addresses; and all of them by address as configured."""

    smtp: list[list[Door]]
    http: list[list[Door]]
    by_address: dict[str, Door]


def open_doors(
    path: Path,
    configuration: Configuration,
    workers: int,
    given: Iterable[socket.socket] = (),
    inherited: Mapping[str, Door] = MappingProxyType({}),
) -> Doors:
    """Take every address, all or none; ConfigError.

    ``given`` are sockets that a service manager has opened, and are used where they fit; so are those ``inherited`` of an earlier program,
    which are by address as configured.
    """
    handed, kept = _by_address(given), dict(inherited)
    wanted = list(endpoints(configuration))
    found = {
        key: _widened(kept.pop(door_name(endpoint, key)), workers, key)
        for endpoint, key in wanted
        if door_name(endpoint, key) in kept
    }
    found |= {key: handed.pop(_address(endpoint)) for endpoint, key in wanted if _address(endpoint) in handed}
    for door in kept.values():
        for each in door:
            each.close()
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
    return Doors(smtp, http, {door_name(endpoint, key): found[key] for endpoint, key in wanted})


def door_name(endpoint: Endpoint, key: str) -> str:
    """What an address is called from one program to the next; of those with a port of the system's choice there may be several."""
    return str(endpoint) if endpoint.port else f"{endpoint} of {key}"


def _widened(door: Door, workers: int, key: str) -> Door:
    """As many sockets as workers, if there are more of these now; what cannot be opened is shared."""
    if len(door) >= workers or not key.startswith("listener.smtp"):
        return door
    try:
        return [*door, *replicate(door[0], workers - len(door) + 1)[1:]]
    except OSError as error:
        LOG.warning("%s is shared by workers: %s", endpoint_of(door[0]), error.strerror or error)
        return door


def _by_address(given: Iterable[socket.socket]) -> dict[tuple[IPv4Address | IPv6Address, int], Door]:
    found: dict[tuple[IPv4Address | IPv6Address, int], Door] = {}
    for each in given:
        with contextlib.suppress(ValueError, IndexError):
            found.setdefault(_address(endpoint_of(each)), []).append(each)
    return found


def _address(endpoint: Endpoint) -> tuple[IPv4Address | IPv6Address, int]:
    return ip_address(endpoint.address), endpoint.port
