"""All listening sockets, or none and the reasons."""

from __future__ import annotations

import contextlib
import errno
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import pytest

from penstock.mail.configuration import Endpoint
from penstock.mail.problem import ConfigError, Problem
from penstock.net.listening import bind_all, endpoint_of, explain, portions, replicate

KEY = "listener.smtp[0].listen[0]"
LOOPBACK = Endpoint("127.0.0.1", 0)


@contextmanager
def listening(endpoints: Sequence[Endpoint]) -> Iterator[list[socket.socket]]:
    """The sockets of ``bind_all``, closed at the end."""
    sockets = bind_all([(endpoint, KEY) for endpoint in endpoints])
    try:
        yield sockets
    finally:
        for opened in sockets:
            opened.close()


def problems(endpoints: Sequence[tuple[Endpoint, str]]) -> tuple[Problem, ...]:
    """What was in the way of listening."""
    with pytest.raises(ConfigError) as caught:
        bind_all(endpoints)
    return caught.value.problems


@contextmanager
def other_process(options: str, address: str = "127.0.0.1") -> Iterator[int]:
    """Another process that listens on a port of its own, with socket options; the port."""
    program = (
        "import socket, sys\n"
        "opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)\n"
        f"for option in [{options}]: opened.setsockopt(socket.SOL_SOCKET, option, 1)\n"
        f"opened.bind(({address!r}, 0)); opened.listen()\n"
        "print(opened.getsockname()[1], flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()


def test_every_endpoint_gets_a_listening_socket_that_does_not_block() -> None:
    """In the order given; port 0 becomes a real one."""
    with listening([LOOPBACK, Endpoint("127.0.0.2", 0)]) as sockets:
        assert [endpoint_of(opened).address for opened in sockets] == ["127.0.0.1", "127.0.0.2"]
        for opened in sockets:
            assert not opened.getblocking()
            assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
            where = endpoint_of(opened)
            socket.create_connection((where.address, where.port)).close()


def test_ipv6_takes_ipv6_only() -> None:
    """``[::]`` and ``0.0.0.0`` stand side by side on one port."""
    with (
        listening([Endpoint("0.0.0.0", 0)]) as (first,),
        listening([Endpoint("::", endpoint_of(first).port)]) as both,
    ):
        assert both[0].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert str(endpoint_of(both[0])).startswith("[::]:")


@pytest.mark.parametrize(
    "options",
    ["", "socket.SO_REUSEADDR", "socket.SO_REUSEPORT", "socket.SO_REUSEADDR, socket.SO_REUSEPORT"],
    ids=["plain", "REUSEADDR", "REUSEPORT", "both"],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_another_process_serves_is_seen(options: str, address: str) -> None:
    """Even where SO_REUSEPORT on their side, or an address of all, would have hidden it."""
    with other_process(options, address) as port:
        (problem,) = problems([(Endpoint("127.0.0.1", port), KEY)])
    assert problem.file == "penstock.toml"
    assert problem.key == KEY
    assert problem.what == f"127.0.0.1:{port} is in use by another process"
    assert f"sport = :{port}" in problem.hint


def test_all_problems_are_told_at_once_and_nothing_listens() -> None:
    """An address that is not here, a port in use, a name: three problems; the one that was right is let go again."""
    with (
        other_process("socket.SO_REUSEPORT") as port,
        closing(socket.create_server(("127.0.0.1", 0))) as free,
    ):
        right = free.getsockname()[1]
        free.close()
        found = problems(
            [
                (Endpoint("127.0.0.1", right), "a"),
                (Endpoint("192.0.2.1", 0), "b"),
                (Endpoint("127.0.0.1", port), "c"),
                (Endpoint("localhost", 0), "d"),
            ]
        )
        assert [(problem.key, problem.what.partition(" ")[2]) for problem in found] == [
            ("b", "is not an address of this host"),
            ("c", "is in use by another process"),
            ("d", "is no address"),
        ]
        assert all(problem.hint for problem in found)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", right))
        with listening([Endpoint("127.0.0.1", right)]):
            pass


@pytest.mark.parametrize("second", ["127.0.0.1", "0.0.0.0"])
def test_one_endpoint_given_twice_is_told_as_that(second: str) -> None:
    """The same, or an address beside all addresses: no other process is to blame."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    (problem,) = problems([(Endpoint("127.0.0.1", port), "one"), (Endpoint(second, port), "two")])
    assert problem.key == "two"
    assert problem.what == f"{second}:{port} is already taken by one (127.0.0.1:{port})"


def test_who_is_bound_but_does_not_listen_yet_is_seen_no_later_than_at_listening() -> None:
    """Two may bind with SO_REUSEADDR; whoever listens first wins, and the other is told."""
    with closing(socket.socket()) as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        rival.bind(("127.0.0.1", 0))
        port = rival.getsockname()[1]
        with listening([Endpoint("127.0.0.1", port)]), pytest.raises(OSError, match="in use"):
            rival.listen()
        rival.listen()
        (problem,) = problems([(Endpoint("127.0.0.1", port), KEY)])
        assert problem.what.endswith("is in use by another process")


def test_a_port_is_free_at_once_after_a_restart() -> None:
    """Connections of before, in TIME_WAIT, do not keep it."""
    with listening([LOOPBACK]) as (opened,):
        where = endpoint_of(opened)
        client = socket.create_connection((where.address, where.port))
        opened.setblocking(True)
        served, _ = opened.accept()
        served.close()
        client.close()
    with listening([where]):
        pass


REASONS = {
    errno.EACCES: ("this user may not listen on port 25", "CAP_NET_BIND_SERVICE"),
    errno.EPERM: ("this user may not listen on port 25", "ip_unprivileged_port_start"),
    errno.EAFNOSUPPORT: ("this host has no IPv6, so [::1]:25 cannot be listened on", "remove it"),
    errno.ENOBUFS: ("cannot listen on [::1]:25: No buffer space available", "log"),
}


@pytest.mark.parametrize("number", REASONS, ids=lambda number: errno.errorcode[number])
def test_each_error_is_told_in_words_of_an_operator(number: int) -> None:
    """What cannot be brought about here as root, from its number."""
    what, hint = explain(Endpoint("::1", 25), OSError(number, "No buffer space available"))
    assert (what, REASONS[number][1] in hint) == (REASONS[number][0], True)


def test_several_sockets_at_one_address_share_its_connections() -> None:
    """Each has its own queue; all of them listen where the first did, the port that the system chose included."""
    (first,) = bind_all([(Endpoint("127.0.0.1", 0), "listen[0]")])
    sockets = replicate(first, 3)
    try:
        assert len({endpoint_of(each) for each in sockets}) == 1
        clients = [socket.create_connection(first.getsockname()) for _ in range(40)]
        taken = 0
        for each in sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    each.accept()[0].close()
                    taken += 1
        assert taken == len(clients)
        for client in clients:
            client.close()
    finally:
        for each in sockets:
            each.close()


def test_a_single_socket_is_shared_with_nobody() -> None:
    """Without other workers the option that lets others join stays off."""
    (first,) = bind_all([(Endpoint("127.0.0.1", 0), "listen[0]")])
    with first:
        assert replicate(first, 1) == [first]
        assert first.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


@pytest.mark.parametrize(("sockets", "parts"), [(1, 1), (2, 2), (5, 2), (1, 3), (2, 4)])
def test_every_socket_is_somebodys_and_everybody_has_one(sockets: int, parts: int) -> None:
    """Also when there are more of the one than of the other."""
    opened = [socket.socket() for _ in range(sockets)]
    try:
        given = portions(opened, parts)
        assert len(given) == parts
        assert all(given)
        assert {id(each) for part in given for each in part} == {id(each) for each in opened}
    finally:
        for each in opened:
            each.close()
