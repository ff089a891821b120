"""What it costs to hand a frame from one process to another: 10 KB and an answer, both ends together. ``python -m benchmarks.micro_ipc``."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import socket
import statistics
import sys
import time
from typing import Final

import uvloop

from penstock.ipc.channel import Channel, over
from penstock.ipc.frames import Frame

_HEAD: Final = os.urandom(200)
_SIZE: Final = 10_000
_STOP: Final = 9


def _own_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def answer(connected: socket.socket) -> None:
    """The other process: a short frame for each long one."""
    over_yet = asyncio.Event()

    def received(frame: Frame) -> None:
        channel.send(1, frame.number)

    channel = Channel(received, lambda _reason: over_yet.set())
    await over(connected, channel)
    await over_yet.wait()


async def hand_over(connected: socket.socket, frames: int, window: int) -> None:
    """Send ``frames``, at most ``window`` of them without an answer."""
    finished = asyncio.Event()
    tail = os.urandom(_SIZE)
    sent = answered = 0

    def send() -> None:
        nonlocal sent
        sent += 1
        channel.send(0, sent, _HEAD, (tail,))

    def received(frame: Frame) -> None:
        nonlocal answered
        answered += 1
        if sent < frames:
            send()
        elif answered == frames:
            finished.set()

    channel = Channel(received, lambda _reason: finished.set())
    await over(connected, channel)
    for _ in range(window):
        send()
    await finished.wait()
    channel.close()


def measure(frames: int, window: int) -> float:
    """Microseconds of both processes per frame."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    child = os.fork()
    if child == 0:
        ours.close()
        uvloop.run(answer(its))
        os._exit(0)
    its.close()
    before, begun = _own_seconds(), time.perf_counter()
    uvloop.run(hand_over(ours, frames, window))
    took, own = time.perf_counter() - begun, _own_seconds() - before
    _, _, used = os.wait4(child, 0)
    other = used.ru_utime + used.ru_stime
    print(
        f"  {frames / took:9,.0f} frames/s; microseconds per frame: {own / frames * 1e6:.1f} to send, {other / frames * 1e6:.1f} to receive"
    )
    return (own + other) / frames * 1e6


def main() -> None:
    """Some rounds, and their median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--window", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(sys.argv[1:] if __name__ == "__main__" else [])
    found = [measure(arguments.frames, arguments.window) for _ in range(arguments.rounds)]
    print(f"median {statistics.median(found):.1f} us per frame of {_SIZE} octets, both ends together")


if __name__ == "__main__":
    main()
