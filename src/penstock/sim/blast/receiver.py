"""The attached sink, as a process of its own: ``python -m penstock.sim.blast.receiver RUN ADDRESS PORT ...``.

A process, not a part of the blast's loop, because it distorts least: in one loop a burst of sending would delay the reading of what has
arrived, and the latencies would be the generator's own. The two clocks are one (CLOCK_MONOTONIC is the machine's), so no time is lost
in telling: the first line of the output is JSON (``endpoints`` or ``error``), receipts follow, written once per round of the loop.
The process ends when its input does, so it never outlives the blast.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Final

import msgspec
import uvloop

from penstock.mail.configuration import Endpoint
from penstock.sim.blast.receipt import Opening, receipt_of
from penstock.sim.sink.message import SinkMessage
from penstock.sim.sink.server import Sink

#: Octets of receipts that may wait for a blast that does not read them. Beyond, the sink gives up: its figures would be wrong.
_UNREAD_LIMIT: Final = 64 * 1024**2


class _Teller:
    """Gathers receipts and writes them."""

    def __init__(self, pipe: asyncio.WriteTransport, run: int) -> None:
        self._pipe = pipe
        self._run = run
        self._gathered = bytearray()

    def tell(self, message: SinkMessage) -> None:
        if not message.is_accepted:
            return
        receipt = receipt_of(message, self._run)
        if receipt is None:
            return
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._write)
        self._gathered += receipt.to_bytes()

    def _write(self) -> None:
        if self._pipe.get_write_buffer_size() > _UNREAD_LIMIT:
            self._pipe.abort()
        elif not self._pipe.is_closing():
            self._pipe.write(bytes(self._gathered))
        self._gathered.clear()


class _Ended(asyncio.Protocol):
    """Sets an event when a pipe has ended."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def connection_lost(self, exc: Exception | None) -> None:
        self._event.set()


async def _serve(run: int, listen: list[Endpoint]) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    output, _ = await loop.connect_write_pipe(lambda: _Ended(ended), sys.stdout.buffer)
    await loop.connect_read_pipe(lambda: _Ended(ended), sys.stdin.buffer)
    sink = Sink(on_message=_Teller(output, run).tell)
    try:
        endpoints = await sink.start(listen)
    except OSError as error:
        output.write(msgspec.json.encode(Opening(error=error.strerror or str(error))) + b"\n")
    else:
        opening = Opening(endpoints=tuple(str(endpoint) for endpoint in endpoints))
        output.write(msgspec.json.encode(opening) + b"\n")
        await ended.wait()
        await sink.stop()
    output.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await ended.wait()


def main() -> None:
    """Run the process; its arguments are the run's number in hexadecimal, then addresses and ports in turn."""
    run, *places = sys.argv[1:]
    listen = [Endpoint(address, int(port)) for address, port in zip(places[::2], places[1::2], strict=True)]
    uvloop.run(_serve(int(run, 16), listen))


if __name__ == "__main__":
    main()
