"""The blast's end of an attached sink: starts the receiver's process, reads its receipts, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from penstock.mail.configuration import Endpoint
from penstock.sim.blast.receipt import RECEIPT_SIZE, Opening, Receipt, receipts
from penstock.sim.endpoint import parse_endpoint

#: A Python process that imports this package is there in a fraction of this, on any machine that could take part in a measurement.
_START_LIMIT: Final = 30.0
_STOP_LIMIT: Final = 5.0
_READ_SIZE: Final = 4096 * RECEIPT_SIZE


class AttachedSinkError(Exception):
    """The attached sink could not be started; ``str()`` of it says why."""


class AttachedSink:
    """A sink in a process of its own. ``on_receipt`` is called with each receipt, ``on_loss`` once if the process ends too early."""

    def __init__(self, run: int, on_receipt: Callable[[Receipt], None], on_loss: Callable[[], None]) -> None:
        self._run = run
        self._on_receipt = on_receipt
        self._on_loss = on_loss
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self, listen: Sequence[Endpoint]) -> list[Endpoint]:
        """Start it; where it listens. AttachedSinkError if it cannot be had."""
        places = [text for endpoint in listen for text in (endpoint.address, str(endpoint.port))]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "penstock.sim.blast.receiver", f"{self._run:08x}", *places,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            # A signal from the terminal is the blast's to handle: the sink must stay for the last receipts.
            start_new_session=True,
        )  # fmt: skip
        output = self._process.stdout
        if output is None:
            raise AttachedSinkError("its output is not to be had")
        try:
            async with asyncio.timeout(_START_LIMIT):
                line = await output.readline()
            opening = msgspec.json.decode(line, type=Opening)
        except (TimeoutError, msgspec.DecodeError) as error:
            await self.stop()
            raise AttachedSinkError("the sink's process did not start") from error
        if opening.error:
            await self.stop()
            raise AttachedSinkError(
                f"the sink cannot listen on {', '.join(map(str, listen))}: {opening.error}"
            )
        self._reading = asyncio.create_task(self._read(output), name="receipts")
        return [parse_endpoint(text, allow_remote=True) for text in opening.endpoints]

    async def stop(self) -> None:
        """End the process: it stops when its input ends, and is killed if it does not."""
        self._stopping = True
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_LIMIT):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def _read(self, output: asyncio.StreamReader) -> None:
        rest = b""
        while octets := await output.read(_READ_SIZE):
            octets = rest + octets
            whole = len(octets) - len(octets) % RECEIPT_SIZE
            for receipt in receipts(octets[:whole]):
                self._on_receipt(receipt)
            rest = octets[whole:]
        if not self._stopping:
            self._on_loss()
