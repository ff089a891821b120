"""Verdicts: what came of asking a hook, as the server acts on it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Final

import msgspec

from penstock.mail.reply import Reply, reply
from penstock.policy import fault
from penstock.policy.hooks import HookKind, NonsenseError
from penstock.policy.refusal import Disconnect, Reject

FAULT: Final = reply(451, "4.3.0", "policy error; try again later")
LATE: Final = reply(451, "4.3.0", "policy took too long; try again later")
BUSY: Final = reply(451, "4.3.2", "policy is too busy; try again later")
CLOSED: Final = reply(451, "4.3.2", "policy is being replaced; try again later")


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What became of asking a hook.

    ``refusal`` is what the client is told, None if it may go on; ``is_final``: the connection is closed after it. ``value`` is what the
    hook returned, as its kind has it: of ``on_auth`` a Granted or False, of ``on_reply`` a Reply or None. ``fault`` is what to write down
    about a hook that failed, "" for one that did not. A fault of ``on_reply`` has no refusal: the reply that was given stands.
    """

    value: object = None
    refusal: Reply | None = None
    is_final: bool = False
    fault: str = ""


ALLOWED: Final = Verdict()


def failed(hook: str, refusal: Reply, text: str) -> Verdict:
    """The verdict where a hook has failed. ``on_reply`` refuses nothing: a message may be stored already, and its reply says so."""
    return Verdict(refusal=None if hook == "on_reply" else refusal, fault=text)


def judged(
    kind: HookKind, arguments: tuple[object, ...], value: object, error: BaseException | None
) -> Verdict:  # hot: policy
    """The verdict where a hook has ended: it returned ``value``, or raised ``error``."""
    if error is not None:
        if isinstance(error, Reject | Disconnect) and kind.name != "on_reply":
            return Verdict(refusal=error.reply, is_final=isinstance(error, Disconnect))
        return failed(kind.name, FAULT, fault.of_exception(kind.name, error))
    if isinstance(value, Coroutine):
        value.close()  # or Python warns that nobody awaits it
    try:
        checked = kind.checked(arguments, value)
    except NonsenseError as nonsense:
        return failed(kind.name, FAULT, fault.of_nonsense(kind.name, str(nonsense)))
    except Reject as refusal:
        return Verdict(refusal=refusal.reply)
    return ALLOWED if checked is None else Verdict(checked)
