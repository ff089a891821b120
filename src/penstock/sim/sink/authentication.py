"""AUTH as the sink takes it: PLAIN (RFC 4616) and LOGIN, one user, one password. It has its own reading of both, shared with nobody."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from penstock.sim.sink.options import Login

_ACCEPTED: Final = b"235 2.7.0 welcome\r\n"
_WRONG: Final = b"535 5.7.8 wrong user or password\r\n"
_CANCELLED: Final = b"501 5.7.0 cancelled\r\n"
_MALFORMED: Final = b"501 5.5.2 not base64, or not what the mechanism says\r\n"
_MECHANISMS: Final = (b"PLAIN", b"LOGIN")


class Exchange:
    """One AUTH: ``reply`` is what to say now; more is to come while that is a 334. ``identity`` is who it was, once that is a 235."""

    __slots__ = ("_is_login", "_login", "_user", "identity", "reply")

    def __init__(self, login: Login, mechanism: bytes, initial: bytes | None) -> None:
        self._login = login
        self._is_login = mechanism.upper() == b"LOGIN"
        self._user: bytes | None = None
        self.identity = ""
        if mechanism.upper() not in _MECHANISMS:
            self.reply = b"504 5.5.4 PLAIN and LOGIN are offered\r\n"
        elif initial is not None:
            self.take(b"" if initial == b"=" else initial)
        else:
            self.reply = b"334 VXNlcm5hbWU6\r\n" if self._is_login else b"334 \r\n"

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return not self.reply.startswith(b"334")

    def take(self, line: bytes) -> None:
        """Take the client's next line, without its CRLF."""
        try:
            given = base64.b64decode(line, validate=True)
        except binascii.Error:
            self.reply = _CANCELLED if line == b"*" else _MALFORMED
            return
        if not self._is_login:
            self._take_plain(given)
        elif self._user is None:
            self._user = given
            self.reply = b"334 UGFzc3dvcmQ6\r\n"
        else:
            self._judge(self._user, given)

    def _take_plain(self, given: bytes) -> None:
        # message = [authzid] NUL authcid NUL passwd
        parts = given.split(b"\0")
        if len(parts) != 3:
            self.reply = _MALFORMED
        elif parts[0] not in (b"", parts[1]):
            self.reply = _WRONG
        else:
            self._judge(parts[1], parts[2])

    def _judge(self, user: bytes, password: bytes) -> None:
        if (user, password) == (self._login.user.encode(), self._login.password.encode()):
            self.identity = self._login.user
            self.reply = _ACCEPTED
        else:
            self.reply = _WRONG
