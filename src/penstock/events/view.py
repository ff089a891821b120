"""One line of the event log for a person: which ones are wanted, and how they look.

A line is decoded only as far as it is needed, and generously: fields may be missing, and types unknown, because logs outlive programs.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.events.text import displayed
from penstock.mail.path_name import site_of_path

_SHOWN_RECIPIENTS: Final = 3

#: How events are coloured on a terminal.
STYLES: Final = {
    "Reception": "cyan",
    "Delivery": "green",
    "TransientFailure": "yellow",
    "Bounce": "red",
    "Expiration": "red",
    "AdminBounce": "red",
    "AdminDelete": "red",
    "AdminRebind": "magenta",
    "AdminFlush": "magenta",
    "Directive": "bold magenta",
    "Rejection": "magenta",
    "Quarantine": "bold red",
    "SpoolHealth": "bold red",
    "Totals": "dim",
}
#: How the openings of files begin: they are sums, nothing that has happened, and shown to who asks for them.
_OPENING: Final = b'{"type":"Totals"'


class _Enhanced(msgspec.Struct, rename={"class_": "class"}):
    class_: int = 0
    subject: int = 0
    detail: int = 0


class _Response(msgspec.Struct):
    code: int = 0
    enhanced_code: _Enhanced | None = None
    content: str = ""
    command: str | None = None


class Line(msgspec.Struct):
    """The fields of an event that are shown or asked for."""

    type: str = ""
    id: str = ""
    sender: str = ""
    recipient: str | list[str] = ""
    site: str = ""
    response: _Response | None = None
    event_time: str = ""
    tenant: str | None = None
    campaign: str | None = None
    queue: str = ""
    num_recipients: int = 0
    totals: dict[str, int] = {}

    @property
    def recipients(self) -> list[str]:
        """The recipients, one or many."""
        return [self.recipient] if isinstance(self.recipient, str) else self.recipient


_decode = msgspec.json.Decoder(Line).decode


def decode_line(line: bytes) -> Line | None:
    """The event on a line, None if there is none."""
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # RecursionError: nested without end
        return None


class Filter(msgspec.Struct, frozen=True):
    """Which events are wanted. Criteria are ANDed, the values of one are ORed, one without values lets everything pass but Totals.

    ``domains`` are of recipients, ``recipients`` and ``senders`` are addresses, all three lower case; ``since`` and ``until`` are RFC 3339 times as
    events have them, or "". The tenant ``""`` is mail without one, the sender ``""`` the null reverse-path.
    """

    types: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()
    campaigns: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    recipients: frozenset[str] = frozenset()
    senders: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    since: str = ""
    until: str = ""

    def is_wanted(self, line: bytes) -> bool:
        """Whether the event on this line is wanted. What is no event is wanted only if nothing was asked for."""
        if not self.types and line.startswith(_OPENING):
            return False
        if self == _EVERYTHING:
            return True
        if self.ids and not any(found.encode() in line for found in self.ids):
            return False  # most are not, and need not be decoded for it
        event = decode_line(line)
        return event is not None and self._is_wanted(event)

    def _is_wanted(self, event: Line) -> bool:
        return (
            (not self.types or event.type in self.types)
            and (not self.tenants or (event.tenant or "") in self.tenants)
            and (not self.campaigns or (event.campaign or "") in self.campaigns)
            and (not self.ids or event.id in self.ids)
            and (not self.queues or event.queue in self.queues)
            and (not self.sites or _site(event.site) in self.sites or event.site in self.sites)
            and event.event_time >= self.since
            and (not self.until or event.event_time < self.until)
            and (not self.senders or event.sender.lower() in self.senders)
            and (not self.recipients or not self.recipients.isdisjoint(to.lower() for to in event.recipients))
            and (not self.domains or not self.domains.isdisjoint(_domain(to) for to in event.recipients))
        )


_EVERYTHING: Final = Filter()


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _site(name: str) -> str:
    """The site in a ready queue's name, or where that is the site alone."""
    return site_of_path(name) or name


def pieces(line: bytes) -> list[tuple[str, str]]:
    """A line of the log as one line for a person, in pieces of (text, style); their texts joined are the plain form.

    Time, type, tenant and campaign, sender and recipients, reply, id. What is no event is shown as it is, made printable.
    """
    event = decode_line(line)
    if event is None:
        return [("not an event: ", "red"), (displayed(line.decode("utf-8", "replace"))[:200], "dim")]
    owner = event.tenant or "-"
    if event.campaign:
        owner = f"{owner}/{event.campaign}"
    style = STYLES.get(event.type, "bold")
    return [
        (displayed(event.event_time[:23].replace("T", " ")), "dim"),
        (f"  {displayed(event.type):<16}", style),
        (f"  {displayed(owner)}", "bold"),
        (f"  {displayed(_parties(event))}", ""),
        (f"  {displayed(_reply(event))}" if event.type != "Reception" else "", style),
        (f"  {displayed(event.id)}", "dim"),
    ]


def _parties(event: Line) -> str:
    """From whom to whom; of what is from nobody, what it is about."""
    if event.type == "Totals":
        return ", ".join(f"{name} {number}" for name, number in event.totals.items() if number)
    if event.type == "Quarantine":
        return f"{event.num_recipients} recipients of {event.queue}"
    if event.type == "Directive":
        return (event.response.command if event.response is not None else None) or "-"
    return f"{event.sender or '<>'} -> {_shortened(event.recipients)}"


def _shortened(recipients: list[str]) -> str:
    shown = ", ".join(recipients[:_SHOWN_RECIPIENTS]) or "-"
    more = len(recipients) - _SHOWN_RECIPIENTS
    return f"{shown} and {more} more" if more > 0 else shown


def _reply(event: Line) -> str:
    response = event.response
    if response is None or event.type == "Totals":
        return ""
    if event.type == "Directive":
        return response.content
    code = response.enhanced_code
    enhanced = f" {code.class_}.{code.subject}.{code.detail}" if code else ""
    return f"{response.code}{enhanced} {response.content}"
