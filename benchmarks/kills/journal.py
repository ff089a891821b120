"""What both ends of the server know of the mail, and the verdict: what was lost, what is a ghost, what was changed, what came twice and why.

Every answer to a client and every copy that the sink took is written down here, in the harness, which is not killed. A recipient's
address is used for one letter only, so it names what happened to it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from benchmarks.kills.letters import Letter, Manner, manner_of


class Fate(Enum):
    """What the client was told of a letter."""

    ACCEPTED = "answered 250"
    UNKNOWN = "the connection ended between the end of the data and its reply"
    REFUSED = "refused, or never given whole"


class Copy(NamedTuple):
    """A letter as the sink took it for one recipient: in which life of the server, and when (monotonic) it was about to answer 250."""

    life: int
    at: float
    reverse_path: str
    digest: bytes


class Kill(NamedTuple):
    """The end of a life of the server."""

    life: int
    at: float


class Verdict(NamedTuple):
    """What is wrong, a line for each recipient; ``duplicates`` are all that came twice, ``unexplained`` those without an excuse."""

    losses: list[str]
    ghosts: list[str]
    mutated: list[str]
    duplicates: list[str]
    unexplained: list[str]

    def faults(self) -> dict[str, list[str]]:
        """What may not be, by its name."""
        return {
            "LOSS": self.losses,
            "GHOST": self.ghosts,
            "MUTATED": self.mutated,
            "DUPLICATE UNEXPLAINED": self.unexplained,
        }


class Journal:
    """What is known, from all threads; ``life`` is the number of the server's life, from 1.

    ``window`` is how long, in seconds, an outcome may take from the sink's 250 until it is durable.
    """

    def __init__(self, window: float) -> None:
        self.life = 1
        self._window = window
        self._lock = threading.Lock()
        self._sent: dict[str, tuple[Letter, Fate, int]] = {}
        self._copies: dict[str, list[Copy]] = {}
        self._turned_away: set[str] = set()
        self._kills: list[Kill] = []
        #: recipients whose delivery an event has told of, and the life in which it was found to
        self._told: dict[str, int] = {}

    def continued(self, window: float) -> Journal:
        """Another journal, with a window of its own, that knows what this one does and goes on by itself."""
        other = Journal(window)
        with self._lock:
            other.life = self.life
            other._sent.update(self._sent)
            other._copies.update({recipient: list(copies) for recipient, copies in self._copies.items()})
            other._turned_away.update(self._turned_away)
            other._kills += self._kills
            other._told.update(self._told)
        return other

    def sent(self, letter: Letter, fate: Fate) -> None:
        """A client is done with a letter."""
        small = letter._replace(message=b"")
        with self._lock:
            for recipient in letter.recipients:
                self._sent[recipient] = (small, fate, self.life)

    def took(self, recipients: Iterable[str], reverse_path: str, digest: bytes, at: float) -> None:
        """The sink is about to answer 250 for these recipients."""
        with self._lock:
            copy = Copy(self.life, at, reverse_path, digest)
            for recipient in recipients:
                self._copies.setdefault(recipient, []).append(copy)

    def turned_away(self, recipient: str) -> None:
        """The sink is about to answer 550 to a recipient."""
        with self._lock:
            self._turned_away.add(recipient)

    def told(self, recipients: Iterable[str]) -> None:
        """Events found in this life's log say that these were delivered."""
        with self._lock:
            for recipient in recipients:
                self._told.setdefault(recipient, self.life)

    def killed(self, at: float) -> None:
        """The server is dead, and what the event log told has been written down; what follows is the next life."""
        with self._lock:
            self._kills.append(Kill(self.life, at))
            self.life += 1

    # -- what is known

    @property
    def letters(self) -> Mapping[str, tuple[Letter, Fate, int]]:
        """By recipient: the letter, what the client was told, and in which life."""
        with self._lock:
            return dict(self._sent)

    def has_copy(self, recipient: str) -> bool:
        """Whether the sink took it."""
        with self._lock:
            return recipient in self._copies

    def is_turned_away(self, recipient: str) -> bool:
        """Whether the sink refused it for good."""
        with self._lock:
            return recipient in self._turned_away

    def waiting(self, *, with_later: bool = True) -> int:
        """How many recipients of accepted letters have not come to the sink, those for LATER left out if they are not asked for."""
        with self._lock:
            return sum(
                fate is Fate.ACCEPTED
                and not self._is_settled(recipient)
                and (with_later or manner_of(recipient) is not Manner.LATER)
                for recipient, (_, fate, _) in self._sent.items()
            )

    def counts(self) -> dict[Fate, int]:
        """Recipients by what the client was told."""
        with self._lock:
            fates = [fate for _, fate, _ in self._sent.values()]
        return {fate: fates.count(fate) for fate in Fate}

    def copies(self) -> int:
        """How many copies the sink took."""
        with self._lock:
            return sum(map(len, self._copies.values()))

    def _is_settled(self, recipient: str) -> bool:
        return recipient in self._copies or recipient in self._turned_away

    # -- the verdict

    def verdict(self) -> Verdict:
        """What is wrong once the server has delivered all that it has."""
        with self._lock:
            doubled = [(recipient, copies) for recipient, copies in self._copies.items() if len(copies) > 1]
            return Verdict(
                list(self._losses()),
                list(self._ghosts()),
                list(self._mutated()),
                [f"{recipient}: {len(copies)} copies" for recipient, copies in doubled],
                [
                    f"{recipient}: {reason}"
                    for recipient, copies in doubled
                    for first, second in itertools.pairwise(copies)
                    if (reason := self._unexplained(recipient, first, second))
                ],
            )

    def _losses(self) -> Iterator[str]:
        """What was accepted and went nowhere; and of what nobody was told, that which went to some of its recipients only."""
        for recipient, (letter, fate, life) in self._sent.items():
            if self._is_settled(recipient):
                continue
            if fate is Fate.ACCEPTED:
                yield f"{recipient}: answered 250 in life {life}, gone"
            elif fate is Fate.UNKNOWN and any(map(self._is_settled, letter.recipients)):
                yield f"{recipient}: given in life {life}, only other recipients of the letter got it"

    def _ghosts(self) -> Iterator[str]:
        for recipient in self._copies.keys() | self._turned_away:
            letter = self._sent.get(recipient)
            if letter is None:
                yield f"{recipient}: nobody sent this"
            elif letter[1] is Fate.REFUSED:
                yield f"{recipient}: was refused in life {letter[2]}, and sent on"

    def _mutated(self) -> Iterator[str]:
        for recipient, copies in self._copies.items():
            if recipient not in self._sent:
                continue
            letter = self._sent[recipient][0]
            for copy in copies:
                if copy.digest != letter.digest:
                    yield f"{recipient}: another content in life {copy.life}"
                if copy.reverse_path != letter.reverse_path:
                    yield f"{recipient}: came from {copy.reverse_path}"

    def _unexplained(self, recipient: str, first: Copy, second: Copy) -> str:
        """Why a second copy has no excuse; empty if the server was killed when it could not yet have stored the outcome of the first."""
        kill = next((kill for kill in self._kills if kill.life == first.life), None)
        if kill is None or second.life == first.life:
            return f"twice in life {first.life}"
        if self._told.get(recipient, second.life) <= first.life:
            return f"the event log had its delivery before the kill of life {first.life}"
        if kill.at - first.at > self._window:
            return f"delivered {kill.at - first.at:.2f} s before the kill of life {first.life}"
        return ""
