"""Work on files that may take long, done beside the event loop: nobody waits for it, so a thread that gets on slowly is good enough."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

#: Does ``work`` somewhere, then calls ``done`` on the loop, with the error that ended it, or None.
Aside = Callable[[Callable[[], None], Callable[[Exception | None], None]], None]


def in_thread(work: Callable[[], None], done: Callable[[Exception | None], None]) -> None:
    """An Aside: a thread of its own, which does not keep the process from ending."""
    loop = asyncio.get_running_loop()

    def run() -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as caught:  # noqa: BLE001 - it is told to whoever asked
            error = caught
        with suppress(RuntimeError):  # the loop has ended meanwhile: nobody is there to be told
            loop.call_soon_threadsafe(done, error)

    try:
        threading.Thread(target=run, name="event log", daemon=True).start()
    except RuntimeError as error:  # no more threads for this process
        loop.call_soon(done, error)
