"""What a session leaves behind: messages that are stored, and notes of what was refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from penstock.ingress import admission
from penstock.ingress.acceptance import Envelope, accepted, messages
from penstock.ingress.assignment import unknown_tenant, untimely
from penstock.ingress.client import Client
from penstock.ingress.desk import Desk
from penstock.ingress.doors import Visit
from penstock.mail.ports import SpoolError, SpoolUncertain
from penstock.mail.records import MessageRecord, RejectionRecord
from penstock.mail.reply import reply
from penstock.smtp.server import ServerSession

_NOT_STORED: Final = reply(451, "4.3.0", "the message could not be stored; try again later")


class Storing:
    """``resume`` is called when the message is stored, or not: the session has gone on by then. ``hang_up`` ends the connection without a reply."""

    __slots__ = ("_client", "_desk", "_hang_up", "_resume", "_session", "_visit")

    def __init__(
        self,
        desk: Desk,
        client: Client,
        session: ServerSession,
        visit: Visit,
        resume: Callable[[], None],
        hang_up: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._client = client
        self._session = session
        self._visit = visit
        self._resume = resume
        self._hang_up = hang_up

    def store(self, whole: Envelope) -> None:  # hot: throughput
        """Answer the message that the session has given, once it is stored, or is not."""
        desk = self._desk
        tenant = whole.tenant
        refusal = unknown_tenant(tenant, desk.queues)
        if refusal is None and tenant is not None:
            refusal = admission.message_refusal(desk, self._visit, tenant, len(whole.content))
        if refusal is not None:
            self._session.refuse(refusal)
            return
        now = desk.clock.wall()
        records = messages(whole, self._client.reception(), desk.ids, now, desk.queues.layers)
        if whole.schedule is not None:
            names = [record.queue for record in records]
            has_hook = desk.policy is not None and desk.policy.has("queue_config")
            refusal = untimely(whole.schedule, names, desk.queues, now, is_max_age_known=not has_hook)
            if refusal is not None:
                self._session.refuse(refusal)
                return
        self._visit.bring(tenant)
        desk.committer.commit(records, partial(self._stored, records))

    def _stored(self, records: Sequence[MessageRecord], fault: SpoolError | None) -> None:
        """It is, or is not. What is stored is delivered even if the client is gone and cannot be told."""
        if self._session.is_waiting:
            self._answer(records, fault)
            self._resume()

    def _answer(self, records: Sequence[MessageRecord], fault: SpoolError | None) -> None:
        if fault is None:
            self._session.accept(accepted(records))
        elif isinstance(fault, SpoolUncertain):
            # a refusal could be a lie, as an acceptance could: the client is told nothing, and asks again
            self._hang_up()
        else:
            self._session.refuse(_NOT_STORED)

    def note_refusals(self, tenant: str | None) -> int:
        """Write down what the session has refused since the last call, to somebody who sends for ``tenant``; how many."""
        desk = self._desk
        refusals = self._session.take_refusals()
        now = desk.clock.wall()
        reception = self._client.reception()
        for refused in refusals:
            desk.spool.note(
                RejectionRecord(
                    id=desk.ids.next(now),
                    time=now,
                    reception=reception,
                    reply=refused.reply,
                    command=refused.command,
                    reverse_path=refused.reverse_path,
                    recipient=refused.recipient,
                    tenant=tenant,
                )
            )
        return len(refusals)
