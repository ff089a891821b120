"""What a running server says of itself: its metrics by name, and its status."""

from __future__ import annotations

import asyncio
import http.client
from pathlib import Path

import msgspec

from benchmarks.processes import LOOPBACK
from penstock.api.client import control_get
from penstock.api.control import ControlError
from penstock.mail.status import Status


def metrics(port: int) -> dict[str, float]:
    """Every sample of /metrics, by its name and labels as they are written; nothing while it does not answer."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10.0)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except OSError:
        return {}
    finally:
        connection.close()
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            found[name] = float(value)
    return found


def status(data: Path) -> Status | None:
    """What the server with this data directory says of itself and its lanes; None while it says nothing."""
    try:
        answer = asyncio.run(control_get(data, "/control/status/v1"))
    except ControlError:
        return None
    return msgspec.json.decode(answer, type=Status)
