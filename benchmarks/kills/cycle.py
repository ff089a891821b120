"""One life with its fault, and the next one in which the server must show what it has kept.

All begin with a copy of the same data directory: of a server that was killed while mail waited in it.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.kills.calls import NETWORK, STORAGE, Call, Point, Tracer, is_network, is_storage
from benchmarks.kills.journal import Fate, Journal, Verdict
from benchmarks.kills.letters import SHAPES, WAITING, letters
from benchmarks.kills.server import Server, check_strace, failing, held
from benchmarks.kills.sink import Sink
from benchmarks.kills.story import Story
from benchmarks.processes import ProgramFaultError

MESSAGES: Final = 20
#: An outcome is durable this long after the sink's 250: 50 ms until its sync is asked for, a sync, and the pace of a traced program.
WINDOW_SECONDS: Final = 1.0
#: While writing fails outcomes wait too, until the server has healed.
FAULT_WINDOW_SECONDS: Final = 60.0
#: How often the trace is looked at for the call that is waited for.
_WATCH_SECONDS: Final = 0.001


class Finding(NamedTuple):
    """What came of a cycle. ``met`` is the call that was held or failed, as it was this time; empty if the run did not come to it."""

    name: str
    met: str
    verdict: Verdict
    faults: list[str]

    def lines(self) -> list[str]:
        """All that is wrong, each line with the cycle's name."""
        wrong = [f"{kind}: {line}" for kind, lines in self.verdict.faults().items() for line in lines]
        return [f"{self.name}: {line}" for line in [*wrong, *self.faults]]


class Sort(Enum):
    """What a call that is to go wrong has to be."""

    STORAGE = "storage"
    NETWORK = "network"

    def holds(self, server: Server) -> Callable[[Call], bool]:
        """Whether a call of a server is of this sort."""
        data = str(server.data)
        return is_network if self is Sort.NETWORK else lambda call: is_storage(call, data)


class Laboratory:
    """Runs cycles, each in a folder of its own under ``place``; MissingProgramError without strace. Its methods may be called from any thread."""

    def __init__(self, place: Path) -> None:
        check_strace()
        self._place = place
        self._template = place / "template"
        self._numbers = itertools.count(1)
        self._before: Journal | None = None

    def prepare(self) -> None:
        """Make the data directory that all cycles begin with. ProgramFaultError if mail is not taken even without a fault."""
        with self._story(WINDOW_SECONDS) as (_, story):
            story.server.start()
            story.server.wait_until_it_greets()
            story.give(letters("before", WAITING, len(WAITING)))
            story.drain(with_later=False)
            story.end_life()
            if story.journal.counts()[Fate.ACCEPTED] != sum(len(shape[0]) for shape in WAITING):
                raise ProgramFaultError(f"mail is not taken: {story.server.last_words()}")
            self._before = story.journal
            _copy(story.server.data, self._template)

    def trace(self, role: str) -> tuple[Tracer, str, Finding]:
        """A run without a fault: the calls of one role, its data directory, and what came of it."""
        kinds = ",".join(dict.fromkeys([*STORAGE, *NETWORK]))
        with self._story(WINDOW_SECONDS) as (run, story):
            story.server.start(["-e", f"trace={kinds}"], role)
            faults = self._lived(story, run)
            tracer = Tracer.of(story.server.trace.read_text(errors="replace"))
            name = f"no fault, the {role} traced"
            return tracer, str(story.server.data), self._second_life(name, "", story, faults)

    def kill(self, point: Point, sort: Sort) -> Finding:
        """Kill all processes of the server before a call, or before the next one that is of the sort."""
        with self._story(WINDOW_SECONDS) as (run, story):
            story.server.start(held(point.kind, point.number), point.role)
            faults: list[str] = []
            life = threading.Thread(target=lambda: faults.extend(self._lived(story, run)), name="life")
            life.start()
            was_killed = _watch(story.server, point, sort, life.is_alive)
            story.server.kill()
            life.join()
            met = _met(story.server, point, sort)
            # what the run met with because it was killed is no fault of the server
            return self._second_life(f"killed before {point}", met, story, [] if was_killed else faults)

    def fail(self, point: Point, error: str, times: int = 1) -> Finding:
        """Have a call fail, and the ones behind it if ``times`` is more than one; the server must heal, and have said no 250 that is not so."""
        name = f"{error} by {f'{times} calls from ' if times > 1 else ''}{point}"
        with self._story(FAULT_WINDOW_SECONDS) as (run, story):
            numbers = f"{point.number}..{point.number + times - 1}" if times > 1 else str(point.number)
            story.server.start(failing(point.kind, numbers, error), point.role)
            faults = self._healed(story, run)
            met = _failed(story.server)
            return self._second_life(name, met, story, faults)

    def lose_helper(self, after: int) -> Finding:
        """Kill the sync helper alone once so many letters were given; the server must go on with another one."""
        with self._story(FAULT_WINDOW_SECONDS) as (run, story):
            story.server.start()
            mail = letters(run, SHAPES, MESSAGES)
            met = ""
            faults: list[str] = []
            try:
                story.server.wait_until_it_greets()
                story.give(itertools.islice(mail, after))
                met = "the sync helper" if story.server.kill_sync_helper() else ""
                story.give(mail)
                story.heal(run)
            except ProgramFaultError as error:
                faults.append(str(error))
            return self._second_life(f"sync helper killed after {after} letters", met, story, faults)

    def lose_segment(self) -> Finding:
        """A control: between two lives the newest segment is taken away. What is lost with it must be found out."""
        with self._story(WINDOW_SECONDS) as (run, story):
            story.server.start()
            story.server.wait_until_it_greets()
            story.give(letters(run, SHAPES, MESSAGES))
            story.server.kill()
            taken = story.server.remove_newest_segment()
            return self._second_life("a segment taken away", taken, story, [])

    # -- parts

    @contextlib.contextmanager
    def _story(self, window: float) -> Iterator[tuple[str, Story]]:
        """A server on a copy of what was prepared, and the name of the run; everything ends with the context."""
        run = f"r{next(self._numbers)}"
        folder = self._place / run
        journal = Journal(window) if self._before is None else self._before.continued(window)
        folder.mkdir()
        with Sink(journal) as sink:
            server = Server(folder, sink.port)
            if self._before is not None:
                _copy(self._template, server.data)
            try:
                yield run, Story(server, sink)
            finally:
                if server.process is not None:
                    server.kill()
                shutil.rmtree(folder)

    def _lived(self, story: Story, run: str) -> list[str]:
        """A whole life; what was wrong."""
        try:
            status = story.live(letters(run, SHAPES, MESSAGES))
        except ProgramFaultError as error:
            return [str(error)]
        return [f"stopped with status {status}"] if status else []

    def _healed(self, story: Story, run: str) -> list[str]:
        """A life with an error in it; what was wrong. It may end before it greets; else it must go on until it is well.

        Where the error has not come by then, it may come when the mail leaves, or at the end.
        """
        server = story.server
        try:
            server.wait_until_it_greets()
        except ProgramFaultError as error:
            return [] if server.has_ended() else [str(error)]
        try:
            story.give(letters(run, SHAPES, MESSAGES))
            story.heal(run)
            if not _failed(server):
                story.sink.take_all()
                story.drain()
                story.tidy()
                story.stop()
        except ProgramFaultError as error:
            return [str(error)]
        return []

    def _second_life(self, name: str, met: str, story: Story, faults: Sequence[str]) -> Finding:
        story.end_life()
        found = [*faults, *story.show_what_is_kept()]
        return Finding(name, met, story.journal.verdict(), found)


def _watch(server: Server, point: Point, sort: Sort, goes_on: Callable[[], bool]) -> bool:
    """Wait until the call is held, or the run is over; whether it is held."""
    tracer, is_wanted, seen = Tracer(), sort.holds(server), 0
    with server.trace.open(errors="replace") as trace:
        while tracer.first(point.kind, point.number, is_wanted, seen) is None:
            if not goes_on():
                return False
            time.sleep(_WATCH_SECONDS)
            # the last one may not have been there whole
            seen = max(0, len(tracer.calls) - 1)
            tracer.feed(trace.read())
    return True


def _met(server: Server, point: Point, sort: Sort) -> str:
    """What the call was, in a run that is over; empty if it was not held, or not until the kill came."""
    tracer = Tracer.of(server.trace.read_text(errors="replace"))
    call = tracer.first(point.kind, point.number, sort.holds(server))
    return "" if call is None or call.was_made else f"{call.kind}({call.arguments}"


def _failed(server: Server) -> str:
    """The first call that was made to fail; empty if none was."""
    lines = server.trace.read_text(errors="replace").splitlines()
    return next((line.partition(" ")[2] for line in lines if line.endswith("(INJECTED)")), "")


def _copy(source: Path, target: Path) -> None:
    """Copy a data directory, holes as holes: a segment is allocated whole."""
    subprocess.run(["cp", "-a", "--sparse=always", str(source), str(target)], check=True)
