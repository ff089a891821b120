"""Questions to the policy about one session: asked one at a time, answered now or later, never once the session is over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from penstock.ingress.client import Client
from penstock.ingress.desk import Desk
from penstock.mail.records import POLICY_ERROR_LIMIT, PolicyErrorRecord
from penstock.mail.reply import Reply
from penstock.policy import Asking, Verdict
from penstock.policy.verdict import FAULT
from penstock.smtp.server import ServerSession

LOG = logging.getLogger(__name__)

#: Characters of a fault in the diagnostic log; its event has the traceback.
_LOGGED: Final = 300
#: The arguments of a hook, made only if there is one to ask.
Arguments = Callable[[], tuple[object, ...]]


class Questions:
    """What is asked about ``session``. ``resume`` is called after every answer, for the session has gone on by then."""

    __slots__ = ("_asking", "_client", "_desk", "_is_answered", "_resume", "_session")

    def __init__(
        self, desk: Desk, client: Client, session: ServerSession, resume: Callable[[], None]
    ) -> None:
        self._desk = desk
        self._client = client
        self._session = session
        self._resume = resume
        self._asking: Asking | None = None
        self._is_answered = False

    def ask(
        self,
        hook: str,
        arguments: Arguments,
        then: Callable[[object], None],
        refused: Callable[[Verdict, Reply], None] | None = None,
    ) -> None:  # hot: throughput
        """Ask a hook, and go on with what it returned; with None where there is no such hook.

        A refusal is the session's answer, unless ``refused`` answers it.
        """
        policy = self._desk.policy
        if policy is None or not policy.has(hook):
            then(None)
            return
        self._is_answered = False
        asking = policy.ask(hook, arguments(), partial(self._answered, hook, then, refused))
        self._asking = None if self._is_answered else asking

    def _answered(
        self,
        hook: str,
        then: Callable[[object], None],
        refused: Callable[[Verdict, Reply], None] | None,
        verdict: Verdict,
    ) -> None:
        self._is_answered = True
        self._asking = None
        if verdict.fault:
            self._note(hook, verdict.fault, verdict.refusal)
        if self._session.is_closed:
            return
        if verdict.refusal is None:
            self._go_on(hook, then, verdict.value)
        elif refused is not None:
            refused(verdict, verdict.refusal)
        else:
            self._refuse(hook, verdict.refusal, is_final=verdict.is_final)
        self._resume()

    def _go_on(self, hook: str, then: Callable[[object], None], value: object) -> None:
        try:
            then(value)
        except Exception as error:  # noqa: BLE001 - it becomes an event and a 451
            # what the hook has left behind cannot be used: its fault, and no reason to leave the client without an answer
            said = f"{hook}: what it has set cannot be used: {type(error).__name__}: {error}"
            self._note(hook, said[:POLICY_ERROR_LIMIT], FAULT)
            self._refuse(hook, FAULT, is_final=False)

    def _refuse(self, hook: str, refusal: Reply, *, is_final: bool) -> None:
        session = self._session
        if session.is_waiting:
            # a client that is not welcome is not kept either, if a proxy has brought it
            session.refuse(refusal, is_final=is_final or hook == "on_connect")
        elif not session.is_greeted:
            session.turn_away(refusal)

    def _note(self, hook: str, fault: str, said: Reply | None) -> None:
        desk = self._desk
        now = desk.clock.wall()
        LOG.warning("policy: %s", fault.partition("\n")[0][:_LOGGED])
        reception = self._client.reception()
        desk.spool.note(PolicyErrorRecord(desk.ids.next(now), now, reception, hook, fault, said))

    def end(self) -> None:
        """Nobody waits for an answer any more."""
        if self._asking is not None:
            self._asking.cancel()
