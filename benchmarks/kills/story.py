"""What a server lives through: mail comes, some of it waits, all of it leaves, the spool is tidied, and it is asked to stop."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from benchmarks.kills.accounts import Accounts, EventReader, delivered
from benchmarks.kills.client import Client, Unreachable
from benchmarks.kills.journal import Fate
from benchmarks.kills.letters import PLAIN, Letter, letter
from benchmarks.kills.server import STOP_SECONDS, Server
from benchmarks.kills.sink import Sink
from benchmarks.processes import ProgramFaultError, wait_until
from penstock.mail.directive import Rebinding, SweepAction

DRAIN_SECONDS: Final = 15.0
#: After an error mail is taken again within this: the spool tries again after a second, then after twice as long each time, and errors that
#: last for five calls take it five tries at most.
HEAL_SECONDS: Final = 45.0
#: A server that says for so long that nothing is queued has nothing any more.
_EMPTY_SECONDS: Final = 2.0
_EVENTS_SECONDS: Final = 3.0
_TIDY_SECONDS: Final = 2.5
_STEP: Final = 0.02


class Story:
    """A server, where its mail goes, and what is known of it, over several lives."""

    def __init__(self, server: Server, sink: Sink) -> None:
        self.server = server
        self.sink = sink
        self.journal = sink.journal
        self.accounts = Accounts()
        self._events = EventReader(server.data / "events")

    def live(self, mail: Iterable[Letter]) -> int:
        """A whole life from its greeting to its end; the exit status. ProgramFaultError wherever it does not go on."""
        self.server.wait_until_it_greets()
        self.give(mail)
        self.drain(with_later=False)
        self.order()
        self.sink.take_all()
        self.drain()
        self.tidy()
        return self.stop()

    def order(self) -> None:
        """What waits is put into other queues, and flushed: whatever becomes of that, it is delivered once. ProgramFaultError."""
        rebound = self.server.order(SweepAction.REBIND, Rebinding(campaign="moved"))
        if not (rebound and self.server.order(SweepAction.FLUSH)) and self.server.has_ended():
            raise ProgramFaultError("the server ended while it was given orders")

    def give(self, mail: Iterable[Letter]) -> None:
        """Give letters; ProgramFaultError if the server is gone."""
        with Client(self.server.port, self.journal) as client:
            for item in mail:
                try:
                    client.give(item)
                except Unreachable as error:
                    raise ProgramFaultError(f"while giving mail: {error}") from error

    def drain(self, seconds: float = DRAIN_SECONDS, *, with_later: bool = True) -> None:
        """Wait until accepted mail has left, or, by what the server says, nothing is queued: the verdict tells which. ProgramFaultError."""
        deadline = time.monotonic() + seconds
        empty_since: float | None = None
        while True:
            queued = self.server.queued()
            is_through = not self.journal.waiting(with_later=with_later)
            now = time.monotonic()
            empty_since = None if queued != 0 else empty_since or now
            if (is_through and (queued == 0 or not with_later)) or (
                empty_since is not None and now - empty_since > _EMPTY_SECONDS
            ):
                return
            if self.server.has_ended():
                raise ProgramFaultError("the server ended while mail was waiting")
            if now > deadline:
                raise ProgramFaultError(f"{queued} recipients are queued after {seconds:g} s")
            time.sleep(_STEP)

    def tidy(self) -> None:
        """A moment without mail, in which segments that hold none go."""
        deadline = time.monotonic() + _TIDY_SECONDS
        while len(self.server.segments()) > 1 and time.monotonic() < deadline:
            time.sleep(_STEP)

    def heal(self, run: str) -> None:
        """Wait until mail is taken and the server says that it is well; ProgramFaultError if that does not come."""
        probes = 0

        def is_healed() -> bool:
            nonlocal probes
            probes += 1
            with Client(self.server.port, self.journal) as client:
                try:
                    fate = client.give(letter(f"{run}.probe{probes}", PLAIN, None))
                except Unreachable:
                    return False
            return fate is Fate.ACCEPTED and self.server.is_well()

        wait_until(is_healed, HEAL_SECONDS, "the server to be well again", self.server.process, 0.02)

    def stop(self) -> int:
        """Ask the server to stop; its exit status. ProgramFaultError if it goes on."""
        process = self.server.process
        if process is None:
            raise ProgramFaultError("the server has ended already")
        self.server.ask_to_stop()
        wait_until(self.server.has_ended, STOP_SECONDS, "the server to stop", interval=_STEP)
        return process.returncode

    def end_life(self) -> None:
        """Kill whatever runs, and write down what its life has left behind."""
        at = self.server.kill()
        self.sink.wait_until_left()
        self._read_events()
        self.journal.killed(at)

    def show_what_is_kept(self, seconds: float = DRAIN_SECONDS) -> list[str]:
        """A life without faults in which all mail leaves; what is wrong with it, but for the journal's verdict."""
        self.server.start()
        self.sink.take_all()
        faults: list[str] = []
        try:
            self.server.wait_until_it_greets()
            self.drain(seconds)
            faults += self._wait_for_events()
        except ProgramFaultError as error:
            faults.append(str(error))
        self.end_life()
        if count := self.server.quarantined():
            faults.append(f"{count} files in the quarantine")
        if traceback := self.server.first_traceback():
            faults.append(f"a traceback: {traceback}")
        return faults

    def _wait_for_events(self) -> list[str]:
        """What is wrong with the events once they have had the time to be written; what is lost has none, and is not waited for."""
        deadline = time.monotonic() + _EVENTS_SECONDS
        while True:
            self._read_events()
            faults = self.accounts.faults(self.journal)
            if not faults or time.monotonic() > deadline or self.journal.waiting():
                return faults
            time.sleep(_STEP)

    def _read_events(self) -> None:
        found = list(self._events.read())
        self.accounts.add(found)
        self.journal.told(delivered(found))
