"""Mistakes that a client could have, each made in ours by a patch: the table must find every one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.feedback import outcome
from penstock.mail.reply import Reply
from penstock.mail.tls import TlsFacts
from penstock.smtp import client_transaction, reply_reader
from penstock.smtp.client_dialogue import Dialogue
from penstock.smtp.client_events import Introduced, Stage
from penstock.smtp.client_transaction import ClientTransaction
from penstock.smtp.introduction import Introduction
from penstock.smtp.reply_reader import ReplyReader

Patch = Callable[[pytest.MonkeyPatch], None]

#: Octets of a reply that are as good as no limit, where a megabyte is too much.
ENOUGH = 2_000_000


def garbage_is_skipped(patch: pytest.MonkeyPatch) -> None:
    """A line that is no reply is passed over: the next one answers in its place (what Postfix's comment documents)."""
    add = ReplyReader._add

    def lenient(self: ReplyReader, line: bytes) -> Reply | None:
        return add(self, line) if reply_reader._LINE.fullmatch(line) else None

    patch.setattr(ReplyReader, "_add", lenient)


def quit_is_pipelined(patch: pytest.MonkeyPatch) -> None:
    """QUIT leaves with mail data."""
    send = ClientTransaction._send

    def hasty(self: ClientTransaction, octets: bytes) -> None:
        send(self, octets + b"QUIT\r\n")

    patch.setattr(ClientTransaction, "_send", hasty)


def any_2yz_will_do(patch: pytest.MonkeyPatch) -> None:
    """221 and 220 are taken for replies to anything."""
    patch.setattr(client_transaction, "_OUT_OF_PLACE", frozenset())


def early_replies_are_believed(patch: pytest.MonkeyPatch) -> None:
    """A reply answers a command that has not been sent yet."""
    ask = Dialogue.ask

    def trusting(self: Dialogue, line: bytes, stage: Stage, index: int = -1) -> None:
        ask(self, line, stage, index)
        self.unsent = 0

    patch.setattr(Dialogue, "ask", trusting)


def codes_of_one_reply_may_differ(patch: pytest.MonkeyPatch) -> None:
    """The last line of a reply decides, whatever stood on those before."""
    add = ReplyReader._add

    def lax(self: ReplyReader, line: bytes) -> Reply | None:
        self._code = line[:3]
        return add(self, line)

    patch.setattr(ReplyReader, "_add", lax)


def the_end_after_the_dot_is_an_acceptance(patch: pytest.MonkeyPatch) -> None:
    """It had all our octets, so it has the message."""
    lose = ClientTransaction.lose

    def hopeful(self: ClientTransaction, answer: Reply, *, is_reply: bool) -> None:
        is_sent = self._dialogue.stage is Stage.DOT
        lose(self, Reply(250, None, "surely") if is_sent and not is_reply else answer, is_reply=is_reply)

    patch.setattr(ClientTransaction, "lose", hopeful)


def the_end_after_the_dot_is_certain(patch: pytest.MonkeyPatch) -> None:
    """It did not answer, so it does not have the message."""
    settle = ClientTransaction._settle

    def sure(self: ClientTransaction, answer: Reply, command: str | None, **_: Any) -> None:
        settle(self, answer, command)

    patch.setattr(ClientTransaction, "_settle", sure)


def every_5yz_is_permanent(patch: pytest.MonkeyPatch) -> None:
    """552 to RCPT and 503 are the message's fault."""
    patch.setattr(outcome, "TEMPORARY", frozenset())


def offers_in_clear_are_remembered(patch: pytest.MonkeyPatch) -> None:
    """What was offered before TLS holds within it (RFC 3207 4.2)."""
    secured = Introduction.secured

    def trusting(self: Introduction, facts: TlsFacts) -> object:
        before = self.peer
        event = secured(self, facts)
        self.peer = before
        return event

    patch.setattr(Introduction, "secured", trusting)
    go_on = Introduction._go_on

    def keeping(self: Introduction, stage: Stage) -> object:
        self.peer = kept.setdefault(id(self), self.peer) if self.tls is None else kept[id(self)]
        return go_on(self, stage)

    kept: dict[int, Any] = {}
    patch.setattr(Introduction, "_go_on", keeping)


def refused_tls_is_done_without(patch: pytest.MonkeyPatch) -> None:
    """Where STARTTLS is refused, mail goes in clear on the same connection (CVE-2016-0772)."""
    refuse = Introduction._refuse

    def easy(self: Introduction, stage: Stage, answer: Reply) -> object:
        return Introduced() if stage in (Stage.STARTTLS, Stage.EHLO) else refuse(self, stage, answer)

    patch.setattr(Introduction, "_refuse", easy)


def replies_have_no_limit(patch: pytest.MonkeyPatch) -> None:
    """Whatever a peer says is kept until it has said it."""
    for limit in ("REPLY_LINE_LIMIT", "REPLY_LINES_LIMIT", "REPLY_LIMIT"):
        patch.setattr(reply_reader, limit, ENOUGH)


def dots_are_not_doubled(patch: pytest.MonkeyPatch) -> None:
    """Mail data leaves as it is."""
    patch.setattr(
        client_transaction, "mail_data", lambda message: message.header + message.content + b"\r\n.\r\n"
    )


def one_reply_is_enough_for_lmtp(patch: pytest.MonkeyPatch) -> None:
    """The first reply to mail data is everybody's."""
    send = ClientTransaction._send

    def smtp(self: ClientTransaction, octets: bytes) -> None:
        self._is_lmtp = False
        send(self, octets)

    patch.setattr(ClientTransaction, "_send", smtp)


#: Each mistake, and cases that must find it.
MUTATIONS: dict[Patch, tuple[str, ...]] = {
    garbage_is_skipped: ("J-pipelining-garbage-shifts", "J-pipelining-garbage-at-mail", "J-bdat-garbage"),
    quit_is_pipelined: ("J-pipelining-garbage-shifts", "B1-lf-dot-lf"),
    any_2yz_will_do: ("J-reply-221-at-dot", "J-bdat-221"),
    early_replies_are_believed: ("J-pipelining-dot-answered-early", "J-banner-ehlo-answered-early"),
    codes_of_one_reply_may_differ: ("J-reply-other-code-at-dot", "J-reply-other-code-at-mail"),
    the_end_after_the_dot_is_an_acceptance: ("J-verdict-close-at-dot", "C4-close-after-dot"),
    the_end_after_the_dot_is_certain: ("J-verdict-reset-at-dot", "J-lmtp-one-reply"),
    every_5yz_is_permanent: ("J-verdict-552-at-rcpt", "J-verdict-503-at-mail", "J-bdat-not-known-after-all"),
    offers_in_clear_are_remembered: ("C3-capabilities-forgotten",),
    refused_tls_is_done_without: ("C4-454", "C4-not-offered"),
    replies_have_no_limit: ("J-banner-endless-line", "J-reply-endless-line-at-dot"),
    dots_are_not_doubled: ("B1-lf-dot-lf", "B2-dot-first", "B2-dot-at-4096"),
    one_reply_is_enough_for_lmtp: ("J-lmtp-each-its-own", "J-lmtp-one-reply"),
}
