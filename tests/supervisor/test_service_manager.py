"""What a service manager is told, and what it gives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from penstock.supervisor.service_manager import ServiceManager, given_sockets


def test_states_are_told_to_the_socket_that_is_named(tmp_path: Path) -> None:
    """One datagram each, as sd_notify(3) has them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        manager = ServiceManager(
            {
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "WATCHDOG_USEC": "10000000",
                "WATCHDOG_PID": str(os.getpid()),
            }
        )
        manager.ready()
        manager.reloading()
        manager.alive()
        manager.stopping()
        told = [listening.recv(1000).decode() for _ in range(4)]
    assert told[0] == "READY=1"
    assert told[1].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert told[2:] == ["WATCHDOG=1", "STOPPING=1"]
    # half of what it would wait
    assert manager.watchdog == 5.0


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "10000000"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"},
    ],
)
def test_without_a_service_manager_nobody_is_told(environment: dict[str, str]) -> None:
    """And a watchdog that is another process's is not ours; a socket that is gone ends nothing."""
    manager = ServiceManager(environment)
    manager.ready()
    assert manager.watchdog is None


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_FDS": "2"}, {"LISTEN_FDS": "2", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": "7"}],
)
def test_sockets_of_another_process_are_not_taken(environment: dict[str, str]) -> None:
    """The variables may be left over from whoever started us, and do not go on to our children."""
    assert given_sockets(environment, 7) == []
    assert environment == {}
