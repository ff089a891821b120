"""A lane with nothing but its quotas, for processes-6. It has events of several rates, as much as it is told, and writes down when each happened.

``python -m benchmarks.quota_lane --socket PATH --log FILE --rate 100/s --load 30 --burst 0 ...``; it runs until it is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import struct
from pathlib import Path
from typing import Final

import uvloop

from penstock.ipc.bus import Bus
from penstock.ipc.channel import ChannelError, connect
from penstock.ipc.words import BUS
from penstock.mail.rate import Rate, parse_rate
from penstock.net.clock import SystemClock
from penstock.worker.quotas import Quotas

#: One event: which rate, and when.
EVENT: Final = struct.Struct("=Id")
#: Seconds between two looks at what has come in, and for the broker.
_STEP: Final = 0.005
_WAITING_LIMIT: Final = 1000


class Lane:
    """Events of each rate that wait, and happen as they may."""

    def __init__(self, rates: list[Rate], log: int) -> None:
        self._clock = SystemClock()
        self._rates = rates
        self._log = log
        self._waiting = [0.0] * len(rates)
        self.quotas = Quotas(self._clock, lambda key: self.go(int(key)), lambda _key: None)

    def come(self, events: float) -> None:
        """So many more of each rate."""
        for place in range(len(self._rates)):
            self._waiting[place] = min(self._waiting[place] + events, _WAITING_LIMIT)
            self.go(place)

    def go(self, place: int) -> None:
        """Let happen what may."""
        done = []
        while self._waiting[place] >= 1:
            now = self._clock.monotonic()
            if self.quotas.take(str(place), self._rates[place], now) is not None:
                break
            self._waiting[place] -= 1
            done.append(EVENT.pack(place, now))
        if done:
            os.write(self._log, b"".join(done))


async def stay_connected(lane: Lane, path: Path) -> None:
    """Be connected to the broker whenever there is one."""
    while True:
        gone = asyncio.Event()
        bus = Bus(BUS, lane.quotas.handlers(), lambda _reason, gone=gone: gone.set())
        with contextlib.suppress(ChannelError):
            await connect(path, bus.channel)
            lane.quotas.connected(bus.tell)
            await gone.wait()
            lane.quotas.disconnected()
        await asyncio.sleep(_STEP)


async def run(arguments: argparse.Namespace) -> None:
    """Until it is killed."""
    log = os.open(arguments.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    lane = Lane([parse_rate(text) for text in arguments.rate], log)
    connecting = asyncio.create_task(stay_connected(lane, arguments.socket))
    begun, came = asyncio.get_running_loop().time(), 0.0
    while not connecting.done():
        elapsed = asyncio.get_running_loop().time() - begun
        counted = arguments.every * (int(elapsed / arguments.every) + 1) if arguments.every else elapsed
        come = arguments.load * counted
        lane.come(come - came)
        came = come
        await asyncio.sleep(_STEP)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--rate", action="append", required=True)
    parser.add_argument("--load", type=float, required=True, help="events of each rate that come in a second")
    parser.add_argument("--every", type=float, default=0.0, help="they come together, so many seconds apart")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
