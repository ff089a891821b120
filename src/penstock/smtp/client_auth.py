"""AUTH as a client speaks it (RFC 4954): PLAIN (RFC 4616), or LOGIN where only that is offered.

What is sent is known before the first word. Every 334 takes the next line of it, whatever its challenge says; one more than there are lines
is a violation, and so is a 235 before the last. No reply to AUTH is passed on if it repeats what was sent.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque

from penstock.mail.records import INTERNAL
from penstock.mail.reply import Reply, reply
from penstock.smtp.capabilities import PLAIN, Capabilities
from penstock.smtp.client_options import Credentials
from penstock.smtp.reply_reader import ProtocolViolation

#: RFC 5321 4.5.3.1.4: what is longer than a command line may be does not go with the command, but after a 334 (RFC 4954 4).
_COMMAND_LIMIT = 512


class AuthExchange:
    """One AUTH command and what follows it. ``first`` is the command; ``next`` takes each reply."""

    __slots__ = ("_credentials", "_rest", "first")

    def __init__(self, credentials: Credentials, peer: Capabilities) -> None:
        """Choose the mechanism; the peer offers one of ours."""
        name, password = credentials.username.encode(), credentials.password.encode()
        self._credentials = credentials
        if PLAIN in peer.auth:
            response = b64encode(b"\0%b\0%b" % (name, password))
            self.first = b"AUTH PLAIN %b\r\n" % response
            self._rest: deque[bytes] = deque()
            if len(self.first) > _COMMAND_LIMIT:
                self.first = b"AUTH PLAIN\r\n"
                self._rest.append(response + b"\r\n")
        else:
            self.first = b"AUTH LOGIN\r\n"
            self._rest = deque([b64encode(name) + b"\r\n", b64encode(password) + b"\r\n"])

    def next(self, answer: Reply) -> bytes | None:
        """The line that follows ``answer``; None if that was the end, which is positive or a refusal. ProtocolViolation for anything else."""
        if answer.code == 334 and self._rest:
            return self._rest.popleft()
        if answer.code == 235 and not self._rest:
            return None
        if answer.is_positive or answer.is_intermediate:
            raise ProtocolViolation(f"AUTH was answered with {answer.code} out of turn")
        return None

    def without_secrets(self, answer: Reply) -> Reply:
        """The reply, without its text if that repeats what was sent."""
        name, password = self._credentials.username, self._credentials.password
        texts = (
            password,
            *(b64encode(text.encode()).decode() for text in (password, name, f"\0{name}\0{password}")),
        )
        if any(text and text in answer.text for text in texts):
            return Reply(
                answer.code, answer.enhanced, "the text of this reply repeats credentials, and is left out"
            )
        return answer


def cannot_authenticate(
    credentials: Credentials,
    peer: Capabilities,
    *,
    is_secure: bool,
    is_verified: bool,
    allow_without_tls: bool,
    allow_without_valid_certificate: bool,
) -> Reply | None:
    """Why these credentials are not to be sent to this peer on this connection, or None. It is the path's trouble, and temporary."""
    if not is_secure and not allow_without_tls:
        return reply(
            454,
            "4.7.11",
            INTERNAL + "AUTH needs TLS, and there is none; allow_smtp_auth_plain_without_tls would allow it",
        )
    if is_secure and not is_verified and not allow_without_valid_certificate:
        return reply(
            454, "4.7.11",
            INTERNAL + "AUTH needs a valid certificate; allow_smtp_auth_plain_without_valid_certificate would allow it without",
        )  # fmt: skip
    if not peer.auth:
        return reply(
            454, "4.7.0", INTERNAL + "AUTH is required, and the next hop offers neither PLAIN nor LOGIN"
        )
    if "\0" in credentials.username or "\0" in credentials.password:
        return reply(
            454,
            "4.7.8",
            INTERNAL + "the user name or password for AUTH holds a NUL, which PLAIN cannot carry",
        )
    return None
