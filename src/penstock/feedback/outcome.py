"""From replies to verdicts: the first digit decides (RFC 5321 4.2.1), with the exceptions of one table.

A 5yz fails the recipient, a 4yz defers it. What is neither (a 3yz where an end was due) is temporary: late beats lost.
"""

from __future__ import annotations

from typing import Final

from penstock.mail.records import Outcome, Verdict
from penstock.mail.reply import Reply
from penstock.smtp.client import Result

#: 5yz replies that are temporary, by code and by the command they answer (None: any). 503 says that the dialogue went wrong, not the mail;
#: 552 to RCPT is what older servers say for 452, too many recipients (RFC 5321 4.5.3.1.10); 502 to BDAT is of a peer that offered it.
TEMPORARY: Final[frozenset[tuple[int, str | None]]] = frozenset({(503, None), (552, "RCPT"), (502, "BDAT")})


def verdict(reply: Reply, command: str | None) -> Verdict:
    """What ``reply`` to ``command`` means for the recipient it decided about. A reply of ours answers no command (None)."""
    if reply.is_positive:
        return Verdict.ACCEPTED
    if reply.is_permanent and (reply.code, None) not in TEMPORARY and (reply.code, command) not in TEMPORARY:
        return Verdict.FAILED
    return Verdict.DEFERRED


def outcome(result: Result, recipient: int) -> Outcome:
    """The outcome of a session's result, for the message's recipient number ``recipient``."""
    return Outcome(
        recipient, verdict(result.reply, result.command), result.reply, result.command, result.is_uncertain
    )
