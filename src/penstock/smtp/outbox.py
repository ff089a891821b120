"""What a server session says, in order; where the shell wants to see each reply before it is said, those that wait for that."""

from __future__ import annotations

from collections import deque

from penstock.mail.reply import Reply
from penstock.smtp.replies import Ready
from penstock.smtp.server_events import Refused, Replying


class Outbox:
    """Replies on their way out. ``refusals`` are the negative ones, as they were said; ``waiting`` are those to be seen first."""

    __slots__ = ("is_reviewed", "output", "refusals", "waiting")

    def __init__(self, *, is_reviewed: bool) -> None:
        self.is_reviewed = is_reviewed
        self.refusals: list[Refused] = []
        self.output: list[bytes] = []
        #: the reply, what it answers, and the refusal that it is
        self.waiting: deque[tuple[Reply, str, Refused | None]] = deque()

    def take(self) -> bytes:  # hot: micro_smtp
        """The octets to write since the last call."""
        output = self.output
        if not output:
            return b""
        octets = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return octets

    def say(self, answer: Reply, command: str) -> None:
        """Say this to ``command``."""
        if self.is_reviewed:
            self.waiting.append((answer, command, None))
        else:
            self.output.append(answer.to_bytes())

    def say_ready(self, ready: Ready, command: str) -> None:  # hot: micro_smtp
        """As ``say``."""
        if self.is_reviewed:
            self.waiting.append((ready.reply, command, None))
        else:
            self.output.append(ready.octets)

    def refuse(self, refused: Refused) -> None:
        """Say a refusal, and note it."""
        if self.is_reviewed:
            self.waiting.append((refused.reply, refused.command, refused))
        else:
            self.output.append(refused.reply.to_bytes())
            self.refusals.append(refused)

    def replying(self) -> Replying:
        """The first reply that waits to be seen."""
        answer, command, _ = self.waiting[0]
        return Replying(answer, command)

    def seen(self, answer: Reply) -> None:
        """Say ``answer`` for the first reply that waited."""
        _, _, refused = self.waiting.popleft()
        self.output.append(answer.to_bytes())
        if refused is not None:
            self.refusals.append(Refused(answer, refused.command, refused.reverse_path, refused.recipient))

    def close(self, farewell: Reply) -> None:
        """Say this, and nothing that waits."""
        self.waiting.clear()
        self.output.append(farewell.to_bytes())
