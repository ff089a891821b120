"""The client of a run: gives letters, one after the other, and writes down what it was told."""

from __future__ import annotations

from types import TracebackType

from benchmarks.dialogue import Dialogue, DialogueError, stuffed
from benchmarks.kills.journal import Fate, Journal
from benchmarks.kills.letters import Letter

#: Longer than any hiccup of the server, and than the wait for a sync helper that is replaced.
PATIENCE_SECONDS = 10.0


class Unreachable(Exception):
    """Nobody answers; nothing was given."""


class Client:
    """A client, as a context. Its connection goes on from letter to letter while it works, and is made anew when it does not."""

    def __init__(self, port: int, journal: Journal) -> None:
        self._port = port
        self._journal = journal
        self._dialogue: Dialogue | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def give(self, letter: Letter) -> Fate:
        """Give one letter; what was told of it. Unreachable if there is no connection to give it on."""
        dialogue = self._connected()
        fate = Fate.REFUSED
        try:
            paths = [recipient.encode() for recipient in letter.recipients]
            dialogue.begin(letter.reverse_path.encode(), paths)
            fate = Fate.UNKNOWN
            dialogue.send(stuffed(letter.message))
            fate = Fate.ACCEPTED if dialogue.reply().code == 250 else Fate.REFUSED
        except (
            DialogueError
        ):  # refused before the data, or the connection has ended: the next letter has a new one
            self._leave()
        finally:
            self._journal.sent(letter, fate)
        return fate

    def _connected(self) -> Dialogue:
        if self._dialogue is None:
            try:
                self._dialogue = Dialogue(self._port, PATIENCE_SECONDS)
                self._dialogue.command(b"EHLO source.test", 250)
            except (OSError, DialogueError) as error:
                self._leave()
                raise Unreachable(str(error)) from error
        return self._dialogue

    def _leave(self) -> None:
        if self._dialogue is not None:
            self._dialogue.socket.close()
            self._dialogue = None
