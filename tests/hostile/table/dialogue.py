"""The turns that rows are made of."""

from __future__ import annotations

from typing import Final

from tests.hostile.case import Case, Setup, Step, Turn, Where

EHLO: Final = Turn(b"EHLO client.test\r\n", ("250",), is_common=True)
MAIL: Final = Turn(b"MAIL FROM:<a@from.test>\r\n", ("250",), is_common=True)
RCPT: Final = Turn(b"RCPT TO:<c@a.test>\r\n", ("250",), is_common=True)
DATA: Final = Turn(b"DATA\r\n", ("354",), is_common=True)
NOOP: Final = Turn(b"NOOP\r\n", ("250",), is_common=True)
#: A transaction up to its mail data.
ENVELOPE: Final = Turn(
    b"MAIL FROM:<a@from.test>\r\nRCPT TO:<c@a.test>\r\nDATA\r\n", ("250", "250", "354"), is_common=True
)
#: The same, for the first transaction of a session.
OPENED: Final = (EHLO, ENVELOPE)
#: Any refusal of a command.
REFUSED: Final = "4|5"
#: What a stranger's RCPT is told: there is no relaying, or not without AUTH.
NO_RELAY: Final = "550 5.7.1|530 5.7.0"


def command(sent: bytes, *answers: str, closes: bool | None = False) -> Turn:
    """One command, or several, with CRLF behind the last."""
    return Turn(sent + b"\r\n", answers, closes)


def way(sent: bytes, *answers: str) -> Turn:
    """One command on the way to the attack."""
    return Turn(sent + b"\r\n", answers, is_common=True)


def mail_data(sent: bytes, *answers: str, closes: bool | None = False) -> Turn:
    """Mail data up to where it ends, with its end."""
    return Turn(sent + b"\r\n.\r\n", answers, closes)


def good_message(content: bytes = b"Subject: good\r\n\r\ngood\r\n") -> tuple[Turn, Turn]:
    """A transaction that must succeed, to show that the session is what it was."""
    return ENVELOPE, Turn(content + b".\r\n", ("250",), is_common=True)


def row(
    code: str,
    what: str,
    *steps: Step,
    setup: Setup | None = None,
    where: Where = Where.BOTH,
    stores: tuple[bytes, ...] | None = (),
    absent: tuple[bytes, ...] = (),
    secrets: tuple[bytes, ...] = (),
    held: int | None = None,
    has_quit: bool = True,
    is_flood: bool = False,
) -> Case:
    """A row whose dialogue begins behind the banner."""
    return Case(
        code,
        what,
        steps,
        setup or Setup(),
        stores,
        absent=absent,
        secrets=secrets,
        held=held,
        where=where,
        has_quit=has_quit,
        is_flood=is_flood,
    )
