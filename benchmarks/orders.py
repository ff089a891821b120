"""Orders given to a running server over its control socket, as its commands do, without the time that a command takes to start."""

from __future__ import annotations

import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from benchmarks.processes import ProgramFaultError


class Answer(NamedTuple):
    """What was answered; when (seconds since 1970), and how many seconds after it was asked."""

    content: dict[str, Any]
    at: float
    seconds: float


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("penstock", timeout=60.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60.0)
        self.sock.connect(str(self._path))


class Orders:
    """The control socket of a data directory."""

    def __init__(self, data: Path) -> None:
        self._path = data / "run" / "control.sock"

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """ProgramFaultError if the server refuses."""
        connection = _Connection(self._path)
        octets = None if body is None else json.dumps(body).encode()
        began = time.monotonic()
        try:
            connection.request(method, path, octets)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        at, seconds = time.time(), time.monotonic() - began
        if response.status != 200:
            raise ProgramFaultError(f"{method} {path}: {response.status} {content[:300]!r}")
        return Answer(json.loads(content), at, seconds)

    def suspend(
        self, *, duration: float = 600.0, action: str = "suspend", subject: str = "", **criteria: object
    ) -> Answer:
        """Suspend queues by criteria, or, by another action, a path or a source."""
        asked = {"action": action, "duration": duration, "reason": "a check"}
        return self.ask(
            "POST",
            "/control/directives/v1",
            asked | ({"subject": subject} if subject else {"criteria": criteria}),
        )

    def bounce(self, *, duration: float = 600.0, **criteria: object) -> Answer:
        """Bounce queues by criteria."""
        return self.suspend(action="bounce", duration=duration, **criteria)

    def cancel(self, identity: str) -> Answer:
        """Cancel a directive."""
        return self.ask("DELETE", f"/control/directives/v1/{quote(identity, safe='')}")

    def listing(self) -> dict[str, Any]:
        """Directives and sweeps."""
        return self.ask("GET", "/control/directives/v1").content

    def survey(self, by: str | None = None, **criteria: object) -> Answer:
        """Count queued mail."""
        return self.ask("POST", "/control/survey/v1", {"criteria": criteria, "by": by})

    def explain(self, queue: str) -> Answer:
        """Why a queue does not move."""
        return self.ask("GET", f"/control/explain/v1?queue={quote(queue, safe='')}")
