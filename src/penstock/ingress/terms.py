"""What holds for one connection: the listener's options for those addresses, and what its session may be offered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from penstock.mail.configuration import LineEndings, SmtpListenerConfig, TlsMode
from penstock.mail.network import is_within
from penstock.smtp import extension
from penstock.smtp.server_events import ServerLimits


class Terms(msgspec.Struct, frozen=True):
    """``is_trusted``: the client is in ``relay_hosts``, so it may relay and name tenants, and is not counted by its address."""

    config: SmtpListenerConfig
    limits: ServerLimits
    is_trusted: bool


def terms(
    config: SmtpListenerConfig, peer: str, *, has_auth: bool, reviews_replies: bool, is_proxy: bool
) -> Terms:
    """The terms of a client at ``peer``; ``is_proxy``: it may use XCLIENT. ``config`` is the one for its addresses."""
    extensions = set(extension.STANDARD)
    if config.tls is TlsMode.STARTTLS:
        extensions.add(extension.STARTTLS)
    if has_auth:
        extensions.add(extension.AUTH)
    if is_proxy:
        extensions.add(extension.XCLIENT)
    offered = frozenset(extensions) - config.discard_ehlo_keywords
    limits = _limits(config, offered, reviews_replies=reviews_replies)
    return Terms(config, limits, is_within(peer, config.relay_hosts))


def _limits(config: SmtpListenerConfig, extensions: frozenset[str], *, reviews_replies: bool) -> ServerLimits:
    return ServerLimits(
        hostname=config.hostname,
        banner=config.banner,
        max_message_size=config.max_message_size,
        max_messages_per_connection=config.max_messages_per_connection,
        max_recipients_per_message=config.max_recipients_per_message,
        line_length_hard_limit=config.line_length_hard_limit,
        invalid_line_endings=config.invalid_line_endings,
        extensions=extensions,
        auth_needs_tls=not config.allow_auth_without_tls,
        reviews_replies=reviews_replies,
    )


#: What a policy may change for one session, and the least that it may be where it is a number.
_NUMBERS: Final = {
    "max_message_size": 1,
    "max_messages_per_connection": 1,
    "max_recipients_per_message": 1,
    "max_received_fields": 1,
    "line_length_hard_limit": 78,
}
_DURATIONS: Final = ("client_timeout", "session_timeout")
_TEXT = re.compile(r"[ -~]{1,200}")


def overridden(before: Terms, options: Mapping[str, object]) -> Terms:
    """``before`` with these listener options changed; ValueError if one cannot be changed for a session, or not so."""
    changes = {name: _checked(name, value) for name, value in options.items()}
    config = msgspec.structs.replace(before.config, **changes)
    limits = before.limits
    changed = _limits(config, limits.extensions, reviews_replies=limits.reviews_replies)
    return Terms(config, changed, before.is_trusted)


def _checked(name: str, value: object) -> object:
    if name in _NUMBERS:
        if isinstance(value, int) and not isinstance(value, bool) and value >= _NUMBERS[name]:
            return value
        raise ValueError(f"{name} is a number of at least {_NUMBERS[name]}, not {value!r:.80}")
    if name in _DURATIONS:
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
        raise ValueError(f"{name} is a number of seconds, not {value!r:.80}")
    if name == "banner":
        if isinstance(value, str) and _TEXT.fullmatch(value):
            return value
        raise ValueError(f"banner is 1 to 200 characters of printable ASCII, not {value!r:.80}")
    if name == "invalid_line_endings":
        try:
            return LineEndings(value)
        except ValueError:
            raise ValueError(f"invalid_line_endings is Deny, Fix or Allow, not {value!r:.80}") from None
    known = ", ".join(sorted((*_NUMBERS, *_DURATIONS, "banner", "invalid_line_endings")))
    raise ValueError(f"{name} cannot be changed for a session; these can: {known}")
