"""Calls a function that may never return, and goes on without it after a time: for the top level of a policy file, which is a program.

It runs on a thread of its own, always: so a file that cannot be loaded there (one that sets signal handlers, say) is told at the first start,
and not at the first reload, and what waits in C (a connection, ``time.sleep``) holds up nobody either. What is late is told to stop by an
exception (``threads.interrupt``), again and again for a while, and is then left behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from penstock.mail.duration import Seconds
from penstock.policy.threads import Interrupted, frames_of_thread, interrupt

#: Seconds that a late function has to end, and between two interruptions.
_GRACE: Final = 1.0
_INTERVAL: Final = 0.05


class Late(Exception):
    """The function took longer than it might. ``frames`` are where it was then, the outermost first; ``lines`` the line of each."""

    def __init__(self, frames: list[FrameType]) -> None:
        super().__init__()
        self.frames = frames
        self.lines = [
            frame.f_lineno for frame in frames
        ]  # now: a frame that goes on says later where it is then


def call(function: Callable[[], object], deadline: Seconds) -> None:
    """Call ``function``; what it raises is raised here. Late if it has not ended after ``deadline`` seconds."""
    running = _Running(function)
    try:
        is_over = running.over.wait(deadline)
    except BaseException:  # an interrupt from the keyboard comes to the thread that waits
        running.interrupt()
        raise
    if is_over:
        if running.error is not None:
            raise running.error
        return
    late = Late(frames_of_thread(running.thread.ident, "_perform"))
    for _ in range(int(_GRACE / _INTERVAL)):
        running.interrupt()
        if running.over.wait(_INTERVAL):
            break
    raise late


class _Running:
    """One call on its thread. Once ``over`` is set, nothing is raised in it any more."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._is_leaving = False
        self.error: BaseException | None = None
        self.over = threading.Event()
        # daemon: a function that never returns must not keep the process from ending
        self.thread = threading.Thread(target=self._run, name="policy loading", daemon=True)
        self.thread.start()

    def interrupt(self) -> None:
        """Tell the function to stop, if it is still running."""
        with self._lock:
            if not self._is_leaving:
                interrupt(self.thread.ident)

    # -- in the thread

    def _run(self) -> None:
        try:
            self._perform()
        except Interrupted as late:
            self.error = late
        self._leave()
        self.over.set()

    def _perform(self) -> None:
        try:
            self._function()
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits
            self.error = error

    def _leave(self) -> None:
        """From here on no interruption is sent; one that is on its way comes here."""
        while True:
            try:
                with self._lock:
                    self._is_leaving = True
                for _ in range(100):
                    pass
            except Interrupted:
                continue
            return
