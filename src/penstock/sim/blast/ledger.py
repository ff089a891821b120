"""Who is still waiting for what: every message whose content was sent, until the attached sink has told of all its recipients.

Messages are rows in typed arrays, by their number, in chunks; a chunk goes when all its rows are settled. So memory follows what is
outstanding (about 20 octets a message), and is limited: at ``CHUNK_LIMIT`` chunks the ledger is full and no more may be sent.
"""

from __future__ import annotations

from array import array
from enum import IntEnum
from typing import Final

from penstock.sim.blast.histogram import Histogram
from penstock.sim.blast.receipt import Receipt

CHUNK: Final = 65_536
CHUNK_LIMIT: Final = 64


class _State(IntEnum):
    UNSENT = 0
    SENT = 1
    ACCEPTED = 2
    REFUSED = 3
    UNKNOWN = 4


class _Chunk:
    __slots__ = ("accepted_at", "check", "settled", "state", "tenant", "waiting")

    def __init__(self) -> None:
        self.state = bytearray(CHUNK)
        self.accepted_at = array("d", bytes(8 * CHUNK))
        self.waiting = array("i", bytes(4 * CHUNK))
        self.check = array("I", bytes(4 * CHUNK))
        self.tenant = array("H", bytes(2 * CHUNK))
        self.settled = 0


class Ledger:
    """What was sent, and what came. Counts are of recipients, but for ``messages`` and ``changed``, which are of receipts.

    ``awaited``: accepted by the server, not yet at the sink. ``duplicates``: came once more than was sent. ``unaccepted``: came, although
    the server had refused them. ``misdelivered``: messages that came to as many recipients as were accepted, but to others.
    ``delivery`` are latencies from the server's acceptance to the sink's receipt, ``by_tenant`` the same for each tenant.
    """

    def __init__(self, tenants: int) -> None:
        self.awaited = 0
        self.messages = 0
        self.received = 0
        self.duplicates = 0
        self.unaccepted = 0
        self.misdelivered = 0
        self.changed = 0
        self.delivery = Histogram()
        self.by_tenant = [Histogram() for _ in range(tenants)]
        self.received_by_tenant = [0] * tenants
        self._chunks: dict[int, _Chunk] = {}
        self._newest = -1

    @property
    def is_full(self) -> bool:
        """Whether a message more could need more memory than there may be."""
        return len(self._chunks) >= CHUNK_LIMIT

    def sent(self, number: int, tenant: int, recipients: int, check: int) -> None:  # hot: throughput
        """The content of a message is being sent, for so many recipients; ``check`` is theirs."""
        chunk, row = self._row(number)
        chunk.state[row] = _State.SENT
        chunk.waiting[row] = recipients
        chunk.check[row] = check
        chunk.tenant[row] = tenant

    def accepted(self, number: int, now: float) -> None:  # hot: throughput
        """The server has accepted the message."""
        index, row = divmod(number, CHUNK)
        chunk = self._chunks[index]
        chunk.state[row] = _State.ACCEPTED
        chunk.accepted_at[row] = now
        self.awaited += chunk.waiting[row]
        if not chunk.waiting[row]:
            self._complete(index, chunk, row)

    def refused(self, number: int) -> None:
        """The server has refused the message, or its content was never sent."""
        chunk, row = self._row(number)
        chunk.state[row] = _State.REFUSED
        self._settle(number // CHUNK, chunk)

    def unknown(self, number: int) -> None:
        """The connection ended before the server said what became of the message: it may come, or not. Its row stays until it does."""
        index, row = divmod(number, CHUNK)
        chunk = self._chunks[index]
        chunk.state[row] = _State.UNKNOWN
        if not chunk.waiting[row]:
            self._settle(index, chunk)

    def receive(self, receipt: Receipt) -> None:  # hot: throughput
        """The sink has received a message, or some recipients' copy of it."""
        self.messages += 1
        self.changed += receipt.is_changed
        index, row = divmod(receipt.number, CHUNK)
        chunk = self._chunks.get(index)
        if chunk is None:
            # Gone with all its rows settled; or none of its numbers was ever used.
            if index <= self._newest:
                self.duplicates += receipt.recipients
            else:
                self.unaccepted += receipt.recipients
            return
        state = chunk.state[row]
        if state in (_State.UNSENT, _State.REFUSED):
            self.unaccepted += receipt.recipients
            return
        fresh = min(receipt.recipients, chunk.waiting[row])
        self.duplicates += receipt.recipients - fresh
        self.received += fresh
        chunk.waiting[row] -= fresh  # never below 0
        chunk.check[row] ^= receipt.check
        if not fresh:
            return
        tenant = chunk.tenant[row]
        self.received_by_tenant[tenant] += fresh
        if state == _State.UNKNOWN:
            if not chunk.waiting[row]:
                self._settle(index, chunk)
            return
        # What came before the server's reply was read had no latency.
        latency = receipt.received - chunk.accepted_at[row] if state == _State.ACCEPTED else 0.0
        self.delivery.record(latency)
        self.by_tenant[tenant].record(latency)
        if state == _State.ACCEPTED:
            self.awaited -= fresh
            if not chunk.waiting[row]:
                self._complete(index, chunk, row)

    def _row(self, number: int) -> tuple[_Chunk, int]:  # hot: throughput
        index, row = divmod(number, CHUNK)
        chunk = self._chunks.get(index)
        if chunk is None:
            chunk = self._chunks[index] = _Chunk()
            self._newest = max(self._newest, index)
        return chunk, row

    def _complete(self, index: int, chunk: _Chunk, row: int) -> None:  # hot: throughput
        self.misdelivered += chunk.check[row] != 0
        self._settle(index, chunk)

    def _settle(self, index: int, chunk: _Chunk) -> None:  # hot: throughput
        chunk.settled += 1
        if chunk.settled == CHUNK:
            del self._chunks[index]
