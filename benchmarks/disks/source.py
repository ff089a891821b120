"""Where the mail of a trial comes from: several connections that send without end, and write down every reply.

A refusal slows a connection down a little and nothing else; a connection that breaks, or cannot be made, is made again.
"""

from __future__ import annotations

import itertools
import threading
import time
from types import TracebackType
from typing import Final, Self

from benchmarks.dialogue import Dialogue, DialogueError, Reply, stuffed
from benchmarks.disks.letters import MIXED, Letter, Sizes, letter
from benchmarks.journals import Journal, Sent

CONNECTIONS: Final = 8
#: Messages of one session, so that connecting is under load too.
SESSION_MESSAGES: Final = 25
#: How long a client waits for a reply. Servers in trouble may be slow, and are tried for longer than this.
REPLY_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.02
_JOIN_SECONDS: Final = 30.0


class Source:
    """Sends letters from ``numbers`` on to a port, from entering the context to its end, ``pace`` seconds apart on each connection."""

    def __init__(
        self,
        port: int,
        journal: Journal[Sent],
        seed: int,
        numbers: itertools.count[int],
        *,
        sizes: Sizes = MIXED,
        pace: float = 0.0,
        limit: int | None = None,
    ) -> None:
        self._port = port
        self._journal = journal
        self._seed = seed
        self._numbers = numbers
        self._sizes = sizes
        self._pace = pace
        self._left = threading.Semaphore(limit) if limit is not None else None
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"source {number}", daemon=True)
            for number in range(CONNECTIONS)
        ]
        self._faults: list[BaseException] = []
        #: connections that broke or could not be made
        self.broken = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._join()

    def finish(self) -> None:
        """Until ``limit`` letters have been sent."""
        self._join()

    def _join(self) -> None:
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._faults:
            raise self._faults[0]

    def _run(self) -> None:
        try:
            while not self._is_over.is_set() and self._session():
                pass
        except BaseException as fault:  # a mistake of ours, for whoever ends us
            self._faults.append(fault)
            raise

    def _session(self) -> bool:
        """One connection; whether there is more to send."""
        try:
            with Dialogue(self._port, REPLY_SECONDS) as client:
                client.command(b"EHLO source.test", 250)
                for _ in range(SESSION_MESSAGES):
                    if self._is_over.is_set():
                        return False
                    if self._left is not None and not self._left.acquire(blocking=False):
                        return False
                    self._send(client, letter(self._seed, next(self._numbers), self._sizes))
                client.command(b"QUIT", 221)
        except (DialogueError, OSError):
            self.broken += 1
            self._is_over.wait(_PAUSE_SECONDS)
        return True

    def _send(self, client: Dialogue, it: Letter) -> None:
        """One transaction, written down whatever becomes of it. DialogueError: the connection is of no more use."""
        transaction = _Transaction(client, it)
        try:
            transaction.run()
        finally:
            self._journal.note(transaction.sent())
        pause = self._pace if transaction.is_accepted else max(self._pace, _PAUSE_SECONDS)
        if pause:
            self._is_over.wait(pause)


class _Transaction:
    """A transaction under way, and what is known of it if it ends here."""

    def __init__(self, client: Dialogue, it: Letter) -> None:
        self._client = client
        self._letter = it
        self._recipients: list[str] = []
        self._refused: list[str] = []
        self._stage = "MAIL"
        # until the first octet of its data is sent, a connection that breaks refuses the message as a reply would
        self._code, self._text = 421, "the connection broke"

    @property
    def is_accepted(self) -> bool:
        """Whether the last reply was positive."""
        return self._code == 250

    def run(self) -> None:
        """From MAIL to the reply to the end of data."""
        client, it = self._client, self._letter
        lines = [f"MAIL FROM:<{it.reverse_path}> SIZE={len(it.message)}"]
        lines += [f"RCPT TO:<{recipient}>" for recipient in it.recipients]
        client.send("".join(line + "\r\n" for line in lines).encode())
        mail = client.reply()
        replies = [(recipient, client.reply()) for recipient in it.recipients]
        self._recipients = [recipient for recipient, reply in replies if reply.code == 250]
        self._refused = [recipient for recipient, reply in replies if reply.code != 250]
        if mail.code != 250 or not self._recipients:
            self._is_refused(
                "MAIL" if mail.code != 250 else "RCPT", mail if mail.code != 250 else replies[0][1]
            )
            client.command(b"RSET")
            return
        reply = client.command(b"DATA")
        if reply.code != 354:
            self._is_refused("DATA", reply)
            return
        self._stage, self._code, self._text = "end of data", 0, "no reply"
        client.send(stuffed(it.message))
        reply = client.reply()
        self._code, self._text = reply.code, reply.text

    def _is_refused(self, stage: str, reply: Reply) -> None:
        self._stage, self._code, self._text = stage, reply.code, reply.text

    def sent(self) -> Sent:
        """What is known."""
        it = self._letter
        return Sent(
            it.number,
            tuple(self._recipients),
            tuple(self._refused),
            it.digest,
            self._code,
            self._stage,
            self._text,
            time.monotonic(),
        )
