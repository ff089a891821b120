"""What a running server's metrics say, by name."""

from __future__ import annotations

import http.client
from pathlib import Path

from benchmarks.processes import LOOPBACK


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


def resident(pid: int) -> int:
    """The resident memory of a process, in octets."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
