"""Opens the listening sockets: all of them, or none and a list of what was in the way.

SO_REUSEPORT is left out at first, on purpose: with it, a port that another process serves with SO_REUSEPORT too would be bound without a word,
and connections would go to either. Once an address is ours alone, ``replicate`` makes further sockets of ours at it. SO_REUSEADDR stays, or a
restart would wait for old connections' TIME_WAIT (socket(7)); on Linux it never takes a port that anybody listens on.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Final

from penstock.mail.configuration import Endpoint
from penstock.mail.problem import ConfigError, Problem

#: Connections that the kernel completes before we accept them; net.core.somaxconn, 4096 by default, caps it.
BACKLOG: Final = 4096


def bind_all(
    endpoints: Iterable[tuple[Endpoint, str]], file: str = "penstock.toml", backlog: int = BACKLOG
) -> list[socket.socket]:
    """A listening, non-blocking socket for each endpoint, in their order. ``str`` is the endpoint's key path in ``file``.

    No socket listens before all are bound. If any cannot, all are closed, and ConfigError has a Problem for each that failed. An IPv6
    socket takes IPv6 only, so that ``0.0.0.0`` and ``::`` can stand side by side.
    """
    wanted = list(endpoints)
    bound: list[tuple[socket.socket, Endpoint, str]] = []
    problems: list[Problem] = []
    with contextlib.ExitStack() as on_failure:
        for place, (endpoint, key) in enumerate(wanted):
            rival = next((other for other in wanted[:place] if _overlaps(endpoint, other[0])), None)
            if rival is not None:
                what = f"{endpoint} is already taken by {rival[1]} ({rival[0]})"
                problems.append(Problem(file, key, what, "give each listener an address and port of its own"))
                continue
            try:
                bound.append((on_failure.enter_context(_bind(endpoint)), endpoint, key))
            except OSError as error:
                problems.append(_problem(file, key, endpoint, error))
        if not problems:
            for opened, endpoint, key in bound:
                try:
                    opened.listen(backlog)
                except OSError as error:
                    # Bound by another too, which had not listened yet: the first to listen wins.
                    problems.append(_problem(file, key, endpoint, error))
        if problems:
            raise ConfigError(problems)
        on_failure.pop_all()
    return [opened for opened, _, _ in bound]


def replicate(first: socket.socket, count: int, backlog: int = BACKLOG) -> list[socket.socket]:
    """``first`` and others at its address, ``count`` in all, each with a queue of connections of its own; the kernel spreads clients over them.

    ``first`` listens, and was bound when nobody else had the address. From now on a process of our user could join (socket(7), SO_REUSEPORT).
    OSError; ``first`` is as it was then, but for the option.
    """
    if count == 1:
        return [first]
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    with contextlib.ExitStack() as on_failure:
        others = []
        for _ in range(count - 1):
            other = on_failure.enter_context(socket.socket(first.family, first.type, first.proto))
            _prepare(other)
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.bind(first.getsockname())
            other.listen(backlog)
            others.append(other)
        on_failure.pop_all()
    return [first, *others]


def portions(sockets: Sequence[socket.socket], parts: int) -> list[list[socket.socket]]:
    """The sockets at one address, spread over so many processes: each socket is somebody's, and everybody has one at least."""
    if len(sockets) >= parts:
        return [list(sockets[part::parts]) for part in range(parts)]
    return [[sockets[part % len(sockets)]] for part in range(parts)]


def endpoint_of(listening: socket.socket) -> Endpoint:
    """Where ``listening`` is bound, the port that the system chose for port 0 included."""
    name = listening.getsockname()
    return Endpoint(str(name[0]), int(name[1]))


def _bind(endpoint: Endpoint) -> socket.socket:
    # AI_NUMERICHOST: a name in the place of an address is an error, not a question to DNS.
    found = socket.getaddrinfo(
        endpoint.address, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )
    family, kind, protocol, _, where = found[0]
    opened = socket.socket(family, kind, protocol)
    try:
        _prepare(opened)
        opened.bind(where)
    except BaseException:
        opened.close()
        raise
    return opened


def _prepare(opened: socket.socket) -> None:
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _overlaps(one: Endpoint, other: Endpoint) -> bool:
    """Whether two of our own endpoints cannot both be bound: same port, same family, and the same address or all addresses."""
    if one.port != other.port or one.port == 0:
        return False
    try:
        first, second = ip_address(one.address), ip_address(other.address)
    except ValueError:
        return False
    return first.version == second.version and (
        first == second or first.is_unspecified or second.is_unspecified
    )


def _problem(file: str, key: str, endpoint: Endpoint, error: OSError) -> Problem:
    what, hint = explain(endpoint, error)
    return Problem(file, key, what, hint)


def explain(endpoint: Endpoint, error: OSError) -> tuple[str, str]:
    """What kept us from listening on ``endpoint``, and what would be right, in an operator's words."""
    if isinstance(error, socket.gaierror):
        return f"{endpoint} is no address", 'write an IP address and a port, such as "127.0.0.1:2525"'
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"{endpoint} is in use by another process",
                f"stop that process, or choose another port; ss -ltnp 'sport = :{endpoint.port}' names it",
            )
        case errno.EADDRNOTAVAIL:
            return (
                f"{endpoint.address} is not an address of this host",
                "write one that ip address show lists, or 0.0.0.0 or [::] for all",
            )
        case errno.EACCES | errno.EPERM:
            return (
                f"this user may not listen on port {endpoint.port}",
                "choose a port from 1024 on, grant CAP_NET_BIND_SERVICE, or lower net.ipv4.ip_unprivileged_port_start",
            )
        case errno.EAFNOSUPPORT:
            family = "IPv6" if ":" in endpoint.address else "IPv4"
            return (
                f"this host has no {family}, so {endpoint} cannot be listened on",
                "remove it from the list",
            )
        case _:
            return f"cannot listen on {endpoint}: {error.strerror or error}", "see the system's log"
