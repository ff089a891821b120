"""A broker in a process of its own, for processes-6: ``python -m benchmarks.quota_host --data-dir DIR --socket PATH``. It runs until it is killed."""

from __future__ import annotations

import argparse
import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import uvloop

from penstock.ipc.bus import Bus
from penstock.ipc.channel import Channel, listen
from penstock.ipc.words import BUS
from penstock.net.clock import SystemClock
from penstock.supervisor.broker import WORDS, Broker
from penstock.supervisor.quota_state import QuotaState, boot_id
from penstock.supervisor.state import State


async def serve(data_dir: Path, socket: Path) -> None:
    """Be the broker of whoever connects."""
    clock = SystemClock()
    state = QuotaState(State(data_dir).connection, clock, boot_id())
    broker = Broker(state, state.begin(), ThreadPoolExecutor(1), clock)
    names = map(str, itertools.count(1))

    def accept() -> Channel:
        name = next(names)
        handlers = dict.fromkeys(WORDS, partial(broker.hear, name))
        bus = Bus(BUS, handlers, lambda _reason: broker.leave(name))
        broker.join(name, bus.tell)
        return bus.channel

    await listen(socket, accept)
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.data_dir, arguments.socket))


if __name__ == "__main__":
    main()
