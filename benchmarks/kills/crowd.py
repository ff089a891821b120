"""Clients without end, and a server that is killed under them again and again, always on the same spool."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.kills.client import Client, Unreachable
from benchmarks.kills.journal import Fate, Journal, Verdict
from benchmarks.kills.letters import crowd_letters
from benchmarks.kills.server import Server
from benchmarks.kills.sink import Sink
from benchmarks.kills.story import Story
from benchmarks.processes import ProgramFaultError
from benchmarks.product import run_command

CLIENTS: Final = 4
#: A life under load lasts this long, in seconds, from its first greeting.
SHORTEST_LIFE: Final = 0.2
LONGEST_LIFE: Final = 2.0
#: From the sink's 250 to a durable outcome, on a machine with more to do than it can.
WINDOW_SECONDS: Final = 2.0
_DRAIN_SECONDS: Final = 120.0


class Outcome(NamedTuple):
    """What came of it. ``starts`` are the seconds until each life greeted; ``fates`` recipients by what clients were told."""

    starts: list[float]
    fates: dict[Fate, int]
    copies: int
    verdict: Verdict
    faults: list[str]


def kill_at_random(folder: Path, seed: int, seconds: float) -> Outcome:
    """Start, load and kill for so many seconds, then let everything drain, and look at the accounts."""
    draw = random.Random(seed)
    journal = Journal(WINDOW_SECONDS)
    starts: list[float] = []
    faults: list[str] = []
    with Sink(journal) as sink:
        story = Story(Server(folder, sink.port), sink)
        sink.take_all()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                began = time.monotonic()
                story.server.start()
                story.server.wait_until_it_greets()
                starts.append(time.monotonic() - began)
                _load(story, draw)
        except ProgramFaultError as error:
            faults.append(f"life {len(starts) + 1}: {error}")
        finally:
            story.server.kill()
        faults += story.show_what_is_kept(_DRAIN_SECONDS)
        faults += _commands(story.server)
        return Outcome(starts, journal.counts(), journal.copies(), journal.verdict(), faults)


def _load(story: Story, draw: random.Random) -> None:
    """One life under load, up to its kill."""
    crowd = [
        threading.Thread(
            target=_give, args=(story, f"{name}", draw.randrange(1 << 32)), name=f"client {name}"
        )
        for name in (f"c{story.journal.life}-{number}" for number in range(CLIENTS))
    ]
    for client in crowd:
        client.start()
    time.sleep(draw.uniform(SHORTEST_LIFE, LONGEST_LIFE))
    ended = story.server.has_ended()
    story.server.kill()
    for client in crowd:
        client.join()
    story.end_life()
    if ended:
        raise ProgramFaultError(f"the server ended by itself: {story.server.last_words()}")


def _give(story: Story, name: str, seed: int) -> None:
    """A client, until its server is gone."""
    with Client(story.server.port, story.journal) as client:
        for item in crowd_letters(name, random.Random(seed)):
            try:
                client.give(item)
            except Unreachable:
                return


def _commands(server: Server) -> list[str]:
    """What Penstock's own commands have to say of the spool and the accounts afterwards."""
    faults: list[str] = []
    for command in (["ledger"], ["spool", "check"]):
        ran = run_command([*command, "-c", str(server.configuration)], server.folder)
        if ran.returncode:
            said = (ran.stdout + ran.stderr).strip()
            faults.append(f"'penstock {' '.join(command)}' ends with {ran.returncode}: {said[-400:]}")
    return faults
