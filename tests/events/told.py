"""The events of a server that has no scribe beside it: made of what its spool has stored."""

from __future__ import annotations

import json
from typing import Any

from penstock.events.record import derive, encode
from penstock.mail.ports import LogPosition
from penstock.spool.log import SpoolLog


class Told:
    """The lines that the scribe would write for a spool."""

    def __init__(self, spool: SpoolLog, node: str = "mta.test") -> None:
        self.lines: list[bytes] = []
        self._spool = spool
        self._node = node
        self._position = LogPosition(0, 0)

    def read(self) -> list[bytes]:
        """The lines that are new since the last call."""
        found: list[bytes] = []
        for record, position in self._spool.history(self._position):
            if record is not None:
                found += encode(derive(record, node=self._node, epoch=1)).splitlines()
            self._position = position
        self.lines += found
        return found

    def events(self) -> list[dict[str, Any]]:
        """All events so far."""
        self.read()
        return [json.loads(line) for line in self.lines]
