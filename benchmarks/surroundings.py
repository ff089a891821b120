"""Mistakes that a folder of files alone does not make: another program has the port, the host has no such address, the user lacks a right.

Each is a context that makes the surroundings and yields what is wrong in them, or, as text, why they cannot be made here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.mistakes import ROOT, Mistake, root
from benchmarks.processes import LOOPBACK, find_program, free_port
from benchmarks.product import Penstock

#: TEST-NET-1 and the documentation prefix: addresses that no host has (RFC 5737, RFC 3849).
FOREIGN_ADDRESS: Final = "192.0.2.1"
FOREIGN_ADDRESS_6: Final = "2001:db8::1"
PRIVILEGED_PORT: Final = 25


class Surroundings(NamedTuple):
    """A mistake in its surroundings. ``commands`` are those that must tell it; ``prefix`` is put before them to take rights away."""

    mistake: Mistake
    commands: tuple[str, ...] = ("serve",)
    prefix: tuple[str, ...] = ()


Situation = Callable[[], AbstractContextManager["Surroundings | str"]]


@contextlib.contextmanager
def port_in_use() -> Iterator[Surroundings | str]:
    """Another program listens on the port."""
    with socket.create_server((LOOPBACK, 0)) as other:
        yield _taken("the port is in use", other)


@contextlib.contextmanager
def port_in_use_shared() -> Iterator[Surroundings | str]:
    """Another program listens there with SO_REUSEPORT: whoever sets it too would get in without a word."""
    with socket.create_server((LOOPBACK, 0), reuse_port=True) as other:
        yield _taken("the port is in use, with SO_REUSEPORT", other)


@contextlib.contextmanager
def port_in_use_on_all_addresses() -> Iterator[Surroundings | str]:
    """A program has the port on every address of the host (bound, listening on loopback's behalf only as long as this lasts)."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.2", 0))
        other.listen()
        port = other.getsockname()[1]
        files = {ROOT: root(smtp=f'listen = ["0.0.0.0:{port}"]')}
        yield Surroundings(
            Mistake(
                "all addresses wanted, one of them in use",
                files,
                ((ROOT, "listener.smtp[0].listen[0]", f"0.0.0.0:{port}", "in use"),),
            )
        )


@contextlib.contextmanager
def http_port_in_use() -> Iterator[Surroundings | str]:
    """The SMTP listener's port is free, the HTTP listener's is not: neither may listen."""
    with socket.create_server((LOOPBACK, 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        listeners = root(
            smtp=f'listen = ["{LOOPBACK}:{free_port()}"]',
            rest=f'[[listener.http]]\nlisten = ["{LOOPBACK}:{port}"]',
        )
        problem = (ROOT, "listener.http[0].listen[0]", f"{LOOPBACK}:{port}", "in use")
        yield Surroundings(
            Mistake("the HTTP listener's port is in use, SMTP's is not", {ROOT: listeners}, (problem,))
        )


@contextlib.contextmanager
def two_ports_in_use() -> Iterator[Surroundings | str]:
    """Both are in use: both are told at once."""
    with socket.create_server((LOOPBACK, 0)) as first, socket.create_server((LOOPBACK, 0)) as second:
        ports = [server.getsockname()[1] for server in (first, second)]
        listeners = root(smtp="listen = [" + ", ".join(f'"{LOOPBACK}:{port}"' for port in ports) + "]")
        problems = tuple(
            (ROOT, f"listener.smtp[0].listen[{place}]", f"{LOOPBACK}:{port}", "in use")
            for place, port in enumerate(ports)
        )
        yield Surroundings(Mistake("two ports are in use", {ROOT: listeners}, problems))


@contextlib.contextmanager
def foreign_address() -> Iterator[Surroundings | str]:
    """The address is not this host's."""
    yield _foreign("an address of another host", FOREIGN_ADDRESS, f"{FOREIGN_ADDRESS}:{free_port()}")


@contextlib.contextmanager
def foreign_address_6() -> Iterator[Surroundings | str]:
    """The IPv6 address is not this host's."""
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        yield "an IPv6 address of another host: this host has no IPv6"
    else:
        yield _foreign(
            "an IPv6 address of another host", FOREIGN_ADDRESS_6, f"[{FOREIGN_ADDRESS_6}]:{free_port()}"
        )


@contextlib.contextmanager
def privileged_port() -> Iterator[Surroundings | str]:
    """A port below 1024, without the right to it."""
    first_free = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first_free <= PRIVILEGED_PORT:
        yield f"a port below 1024 without the right to it: this host lets everybody listen from port {first_free} on"
        return
    files = {ROOT: root(smtp=f'listen = ["{LOOPBACK}:{PRIVILEGED_PORT}"]')}
    problem = (ROOT, "listener.smtp[0].listen[0]", "may not listen", str(PRIVILEGED_PORT))
    yield Surroundings(
        Mistake("a port below 1024 without the right to it", files, (problem,)), prefix=_powerless()
    )


@contextlib.contextmanager
def unwritable_data_dir() -> Iterator[Surroundings | str]:
    """The data directory is there, and this user may not write in it."""
    with _temporary_folder() as name:
        name.chmod(0o500)
        files = {ROOT: root(node=f'data_dir = "{name}"')}
        problem = (ROOT, "node.data_dir", str(name), "is not writable")
        yield Surroundings(
            Mistake("a data directory that is not writable", files, (problem,)),
            ("check", "serve"),
            _powerless(),
        )


@contextlib.contextmanager
def unmakable_data_dir() -> Iterator[Surroundings | str]:
    """The data directory is not there, and cannot be made."""
    with _temporary_folder() as name:
        name.chmod(0o500)
        files = {ROOT: root(node=f'data_dir = "{name}/data"')}
        problem = (ROOT, "node.data_dir", f"{name}/data", "cannot be made")
        yield Surroundings(
            Mistake("a data directory that cannot be made", files, (problem,)),
            ("check", "serve"),
            _powerless(),
        )


@contextlib.contextmanager
def data_dir_in_use() -> Iterator[Surroundings | str]:
    """Another Penstock runs with the same data directory, on other ports."""
    with _temporary_folder() as folder, Penstock(folder / "first", free_port()) as first:
        data = first.folder / "data"
        files = {ROOT: root(node=f'data_dir = "{data}"', smtp=f'listen = ["{LOOPBACK}:{free_port()}"]')}
        yield Surroundings(
            Mistake("a data directory that another server uses", files, (("another server", str(data)),))
        )


SITUATIONS: Final[tuple[Situation, ...]] = (
    port_in_use,
    port_in_use_shared,
    port_in_use_on_all_addresses,
    http_port_in_use,
    two_ports_in_use,
    foreign_address,
    foreign_address_6,
    privileged_port,
    unwritable_data_dir,
    unmakable_data_dir,
    data_dir_in_use,
)


def _taken(name: str, other: socket.socket) -> Surroundings:
    port = other.getsockname()[1]
    files = {ROOT: root(smtp=f'listen = ["{LOOPBACK}:{port}"]')}
    return Surroundings(
        Mistake(name, files, ((ROOT, "listener.smtp[0].listen[0]", f"{LOOPBACK}:{port}", "in use"),))
    )


def _foreign(name: str, address: str, endpoint: str) -> Surroundings:
    """One listener that is right, and one with the address: neither may listen."""
    files = {ROOT: root(smtp=f'listen = ["{LOOPBACK}:{free_port()}", "{endpoint}"]')}
    return Surroundings(
        Mistake(name, files, ((ROOT, "listener.smtp[0].listen[1]", address, "address of this host"),)),
        ("check", "serve"),
    )


def _powerless() -> tuple[str, ...]:
    """What makes root as weak as anybody: the same user without a single capability (capabilities(7))."""
    return () if os.geteuid() else (find_program("setpriv"), "--bounding-set=-all", "--inh-caps=-all")


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="penstock-relay-4-") as name:
        yield Path(name)
