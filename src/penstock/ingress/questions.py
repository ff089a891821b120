"""Questions to the policy about one session: asked one at a time, answered now or later, never once the session is over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from penstock.ingress.client import Client
from penstock.ingress.desk import Desk
from penstock.mail.records import PolicyErrorRecord
from penstock.policy import Asking, Verdict
from penstock.smtp.server import ServerSession

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

    def ask(self, hook: str, arguments: Arguments, then: Callable[[object], None]) -> None:  # hot: throughput
        """Ask a hook, and go on with what it returned; with None where there is no such hook. A refusal is the session's answer."""
        policy = self._desk.policy
        if policy is None or not policy.has(hook):
            then(None)
            return
        self._is_answered = False
        asking = policy.ask(hook, arguments(), partial(self._answered, hook, then))
        self._asking = None if self._is_answered else asking

    def _answered(self, hook: str, then: Callable[[object], None], verdict: Verdict) -> None:
        self._is_answered = True
        self._asking = None
        if verdict.fault:
            desk = self._desk
            now = desk.clock.wall()
            reception = self._client.reception()
            desk.spool.note(PolicyErrorRecord(desk.ids.next(now), now, reception, hook, verdict.fault))
        session = self._session
        if session.is_closed:
            return
        if verdict.refusal is None:
            then(verdict.value)
        elif session.is_waiting:
            session.refuse(verdict.refusal, is_final=verdict.is_final)
        else:
            session.turn_away(verdict.refusal)
        self._resume()

    def end(self) -> None:
        """Nobody waits for an answer any more."""
        if self._asking is not None:
            self._asking.cancel()
