"""Ends a hook that computes without end on the event loop, where no timer can: the loop is not running meanwhile.

A thread looks now and then whether one step of a hook has taken longer than its deadline, and if so raises ``Interrupted`` in it, as for
plain functions (``threads``). Until then the whole server stands still, so this is no licence to compute on the loop; it is the difference
between a server that stalls for some seconds and one that is dead. What waits in C, such as ``time.sleep``, ends when it comes back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from penstock.mail.duration import Seconds
from penstock.policy.threads import Interrupted, frames_of_thread, interrupt

#: Looks for each deadline: a hook ends at most a quarter of it late.
_LOOKS: Final = 4


class Watch:
    """Watches the steps of hooks on the thread that makes it."""

    __slots__ = ("_deadline", "_frames", "_is_fired", "_lock", "_over", "_since", "_thread", "_watched")

    def __init__(self, deadline: Seconds) -> None:
        self._deadline = deadline
        self._lock = threading.Lock()
        self._watched = threading.get_ident()
        self._since: float | None = None
        self._is_fired = False
        self._frames: list[FrameType] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="policy watch", daemon=True)
        self._thread.start()

    def step(
        self, function: Callable[..., object], *arguments: object
    ) -> tuple[object, BaseException | None]:  # hot: policy
        """Call a function of a hook: what it returned, or what it raised; Interrupted if it took too long."""
        try:
            self._since = time.monotonic()
            try:
                return function(*arguments), None
            except BaseException as error:  # noqa: BLE001 - whatever a hook raises is a verdict, SystemExit too
                return None, error
            finally:
                self._leave()
        except Interrupted as late:
            # it came between the function's end and the watch's, and is the only one that can
            self._leave()
            return None, late

    def _leave(self) -> None:  # hot: policy
        """The step has ended. Nothing is raised behind this; an interruption that is on its way ends here."""
        while True:
            try:
                with self._lock:
                    self._since = None
                    is_fired, self._is_fired = self._is_fired, False
                if is_fired:
                    for _ in range(100):
                        pass
            except Interrupted:
                continue
            return

    def take_frames(self) -> list[FrameType]:
        """Where the step was that was interrupted last."""
        frames, self._frames = self._frames, []
        return frames

    def close(self) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._deadline / _LOOKS):
            with self._lock:
                since = self._since
                if since is None or self._is_fired or time.monotonic() - since < self._deadline:
                    continue
                self._is_fired = True
                self._frames = frames_of_thread(self._watched, "step")
                interrupt(self._watched)
