"""How a hook refuses: ``Reject`` and ``Disconnect``, and what may become of a reply (``checked_reply``).

A refusal is an exception, so that it leaves a hook from any depth. Code and status are the operator's, and a slip in them is a ValueError
where it was made; the text may repeat what a stranger sent, so whatever is not printable in it is replaced, and a long one is cut.
Sources: RFC 5321 4.2, RFC 3463.
"""

from __future__ import annotations

import re
from typing import Final

from penstock.mail.reply import Reply, printable, reply

#: Lines of a reply, and characters of all its text: a page, which no client shows in full.
LINE_LIMIT: Final = 20
TEXT_LIMIT: Final = 2000
_ENHANCED: Final = re.compile(r"([45])\.[0-9]{1,3}\.[0-9]{1,3}")
_CLOSING: Final = 421


class Reject(Exception):
    """Refuse what the client asks for with this reply; the session goes on.

    ``code`` is 400 to 599 but for 421, ``enhanced`` an enhanced status code of the same class, such as ``"5.7.1"``; ValueError otherwise.
    Lines of ``text`` are parted by newlines.
    """

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        if code == _CLOSING:
            raise ValueError("421 says that the connection is closed; raise Disconnect for that")
        self.reply = _refusal(code, enhanced, text)
        super().__init__(str(self.reply))


class Disconnect(Exception):
    """Refuse with this reply, and close the connection after it. Arguments are as ``Reject`` has them; 421 is usual here."""

    def __init__(
        self, code: int = _CLOSING, enhanced: str = "4.7.0", text: str = "closing connection"
    ) -> None:
        self.reply = _refusal(code, enhanced, text)
        super().__init__(str(self.reply))


class LimitExceeded(Reject):
    """The message is more than can be looked into here: too many parts, too deep, too long a header section.

    A hook may catch it. If none does, the message is refused 550 5.6.0: it would be no different the next time.
    """

    def __init__(self, what: str) -> None:
        super().__init__(550, "5.6.0", f"the message cannot be examined: {what}")


def _refusal(code: object, enhanced: object, text: object) -> Reply:
    if not isinstance(code, int) or isinstance(code, bool) or not 400 <= code < 600:
        raise ValueError(f"a refusal has a code from 400 to 599, not {code!r}")
    match = _ENHANCED.fullmatch(enhanced) if isinstance(enhanced, str) else None
    if match is None or int(match[1]) != code // 100:
        raise ValueError(
            f"the enhanced status code of {code} is written '{code // 100}.7.1', not {enhanced!r}"
        )
    if not isinstance(text, str):
        raise ValueError(f"the text of a reply is a str, not {type(text).__name__}")
    return reply(code, match.group(), shown(text))


def shown(text: str) -> str:
    """``text`` as a reply can have it: printable lines, so many characters of them and no more."""
    lines = text[:TEXT_LIMIT].replace("\r\n", "\n").rstrip("\n").split("\n")[:LINE_LIMIT]
    return "\n".join(printable(line) for line in lines)


def checked_reply(old: Reply, new: object) -> Reply:
    """What the client is told when ``on_reply`` would have ``new`` instead of ``old``; ValueError if that would be untrue.

    A reply that is not negative, and 421, keep their code and status: only the text is the policy's. Any other 4yz or 5yz may become
    another. An enhanced status code has the class of its code, or is left out.
    """
    if not isinstance(new, Reply):
        raise ValueError(f"on_reply returns a Reply or None, not {type(new).__name__}")
    keeps_code = old.code < 400 or old.code == _CLOSING
    if keeps_code and (new.code != old.code or new.enhanced != old.enhanced):
        raise ValueError(f"a reply {old.code} keeps its code and status; only its text can be another")
    if not keeps_code and (not 400 <= new.code < 600 or new.code == _CLOSING):
        raise ValueError(f"a reply {old.code} can become another 4yz or 5yz but 421, not {new.code}")
    if new.enhanced is not None and new.enhanced.class_ != new.code // 100:
        raise ValueError(f"the enhanced status code of {new.code} begins with {new.code // 100}")
    return Reply(new.code, new.enhanced, shown(new.text))
