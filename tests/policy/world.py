"""A policy made of text, its runner, and a client's transaction for it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from penstock import policy
from penstock.mail.address import parse_address
from penstock.mail.duration import Seconds
from penstock.policy import Message, PolicyRunner, Recipient, Session, SessionFacts, Transaction, Verdict
from penstock.policy.loading import MODULE_NAME
from penstock.policy.runner import Timers

CONTENT = b"From: a@send.example\r\nTo: b@dest.example\r\nSubject: hello\r\n\r\nbody\r\n"
IMPORTS = "import asyncio, threading, time\nfrom penstock.policy import *\n"
#: Longer than any test that goes right takes.
PATIENCE = 10.0


def load(folder: Path, text: str) -> policy.Policy:
    """The policy of a file with this text, all of the public API imported before it."""
    path = folder / "policy.py"
    path.write_text(IMPORTS + text)
    return policy.load(path)


@contextlib.asynccontextmanager
async def running(
    loaded: policy.Policy, timeout: float = PATIENCE, threads: int = 2, timers: Timers | None = None
) -> AsyncIterator[PolicyRunner]:
    """A runner of a policy, closed in the end."""
    runner = PolicyRunner(loaded, Seconds(timeout), threads, timers=timers)
    try:
        yield runner
    finally:
        await runner.close(0.5)


async def ask(runner: PolicyRunner, hook: str, *arguments: object) -> Verdict:
    """The verdict of a hook."""
    answered: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    runner.ask(hook, arguments, answered.set_result)
    async with asyncio.timeout(PATIENCE):
        return await answered


async def until(condition: Callable[[], bool]) -> None:
    """Give the loop and the threads turns until ``condition`` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - threads and hooks set no event of ours
            await asyncio.sleep(0.001)


def session(peer: str = "192.0.2.1", **facts: object) -> Session:
    """A client's session."""
    return Session(SessionFacts(peer_address=peer, **facts))  # type: ignore[arg-type]


def transaction(of: Session | None = None, sender: str = "a@send.example", *recipients: str) -> Transaction:
    """A transaction with these recipients accepted; "" is the null reverse-path."""
    made = Transaction(of or session(), parse_address(sender) if sender else None)
    for recipient in recipients or ("b@dest.example",):
        made.accept(Recipient(recipient))
    return made


def message(content: bytes = CONTENT, of: Transaction | None = None) -> Message:
    """A message of a transaction."""
    return Message(of or transaction(), content)


def forget_policies() -> None:
    """Leave no policy registered behind."""
    sys.modules.pop(MODULE_NAME, None)
