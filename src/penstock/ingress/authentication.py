"""Who a client is allowed to be, by what it gave with AUTH and what the policy says of that (RFC 4954)."""

from __future__ import annotations

from penstock.policy import Granted
from penstock.smtp.auth import Credentials


def judged(given: Credentials, value: object) -> Granted | None:
    """What ``on_auth`` grants, by what it returned; None for nothing.

    Whom a client acts for is what the policy says, and never what the client asks for: another identity than its own has to be granted.
    """
    granted = value if isinstance(value, Granted) else Granted() if value is True else None
    if granted is None:
        return None
    if granted.authorization_id is None and given.authorization_id not in ("", given.authentication_id):
        return None
    return granted
