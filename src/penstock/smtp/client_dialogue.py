"""Commands and the replies that they wait for, in order: what the two halves of a client session share."""

from __future__ import annotations

from collections import deque

from penstock.smtp.client_events import Stage


class Dialogue:
    """The commands that have been asked and not answered, oldest first, and the octets that have not left.

    ``awaited`` has each command's stage, and the recipient's index for RCPT (and, with LMTP, for the replies to mail data). ``unsent`` is how
    many of them are still in the output, at its end: they cannot have been answered. ``is_closed``: nothing more is said or heard.
    """

    __slots__ = ("awaited", "is_closed", "output", "unsent")

    def __init__(self) -> None:
        self.is_closed = False
        self.awaited: deque[tuple[Stage, int]] = deque([(Stage.BANNER, -1)])
        self.output: list[bytes] = []
        self.unsent = 0

    @property
    def stage(self) -> Stage:
        """What is waited for now."""
        return self.awaited[0][0] if self.awaited else Stage.IDLE

    def ask(self, line: bytes, stage: Stage, index: int = -1) -> None:
        """Send a command whose reply is awaited from now on."""
        self.output.append(line)
        self.awaited.append((stage, index))
        self.unsent += 1

    def ask_all(self, lines: bytes, commands: list[tuple[Stage, int]]) -> None:  # hot: micro_smtp
        """Send what will be answered so many times, in this order."""
        self.output.append(lines)
        self.awaited.extend(commands)
        self.unsent += len(commands)

    def take_output(self) -> bytes:  # hot: micro_smtp
        """The octets to write since the last call."""
        output = self.output
        if not output:
            return b""
        octets = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        self.unsent = 0
        return octets

    def begin_handshake(self) -> None:
        """Wait for the shell to shake hands. Whatever comes in clear until then was not asked for (RFC 3207 6)."""
        self.awaited.append((Stage.TLS, -1))
        self.unsent += 1

    def end_handshake(self) -> None:
        """Nothing is awaited any more."""
        self.awaited.clear()
        self.unsent = 0

    def close(self) -> None:
        """Nothing more is said or heard.

        What was not sent yet is not to be sent: the peer would do it, and we would not hear of it.
        """
        self.is_closed = True
        self.awaited.clear()
        self.awaited.append((Stage.CLOSED, -1))
        self.unsent = 0
        self.output.clear()
