"""What people ask of a running server about queued mail, and what it answers.

Criteria, queue names and durations are written here as people write them; ``criteria_of`` and the others read them, or say what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from penstock.mail.address import AddressError, parse_domain
from penstock.mail.directive import Action, Criteria, Directive, Progress, Rebinding, Sweep, SweepAction
from penstock.mail.duration import Seconds, WallTime
from penstock.mail.path_name import parse_path_name
from penstock.mail.queue_name import QueueName, is_label, parse_queue_name
from penstock.mail.reason import Reason
from penstock.mail.survey import GROUPS_SHOWN, Grouping, Survey

#: How long a directive holds if nobody says.
DEFAULT_DURATION: Final = Seconds(300.0)
#: Queue names that one directive can have.
NAMES_LIMIT: Final = 10_000
#: Characters of a reason.
REASON_LIMIT: Final = 1000
#: Characters of the name of a path or a source.
_SUBJECT_LIMIT: Final = 1000
#: Tenants that a refusal names.
_TENANTS_NAMED: Final = 10


class ControlRefused(ValueError):
    """What was asked cannot be done; ``str()`` says why and what would be right. Nothing has changed."""


class ControlMissing(ControlRefused):
    """There is nothing of that name."""


class WrittenCriteria(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As of ``Criteria``; queues by their names as people write them."""

    campaign: str | None = None
    tenant: str | None = None
    domain: str | None = None
    routing_domain: str | None = None
    queue_names: tuple[str, ...] = ()


def criteria_of(written: WrittenCriteria) -> Criteria:
    """The criteria that are written; ControlRefused."""
    narrowed = (written.campaign, written.tenant, written.domain, written.routing_domain)
    if len(written.queue_names) > NAMES_LIMIT:
        raise ControlRefused(f"a directive has at most {NAMES_LIMIT} queue names")
    if written.queue_names and any(part is not None for part in narrowed):
        raise ControlRefused("queue names are exact: give them, or campaign, tenant and domains, not both")
    return Criteria(
        _label("campaign", written.campaign),
        _label("tenant", written.tenant),
        _domain(written.domain),
        _domain(written.routing_domain, or_none=True),
        frozenset(map(queue_of, written.queue_names)),
    )


def queue_of(text: str) -> QueueName:
    """The queue that is written; ControlRefused."""
    try:
        name = parse_queue_name(text)
    except ValueError as error:
        raise ControlRefused(str(error)) from None
    routing_domain = _domain(name.routing_domain)
    return msgspec.structs.replace(
        name, domain=_domain(name.domain) or name.domain, routing_domain=routing_domain
    )


def rebinding_of(written: Rebinding) -> Rebinding:
    """The change that is written, checked; ControlRefused."""
    if written == Rebinding():
        raise ControlRefused(
            "a rebind says what becomes otherwise; set a tenant, a campaign or a routing domain"
        )
    return Rebinding(
        _label("tenant", written.tenant),
        _label("campaign", written.campaign),
        _domain(written.routing_domain, or_none=True),
    )


def checked_tenant(rebinding: Rebinding, tenants: frozenset[str]) -> Rebinding:
    """The change, of which the tenant is one of ``tenants``, or none; ControlRefused: at SMTP its mail would be refused, too."""
    tenant = rebinding.tenant
    if tenant and tenant not in tenants:
        names = sorted(tenants)
        more = f" and {len(names) - _TENANTS_NAMED} more" if len(names) > _TENANTS_NAMED else ""
        known = f"it has {', '.join(names[:_TENANTS_NAMED])}{more}" if names else "it has none"
        raise ControlRefused(
            f"unknown tenant {tenant}: queues.toml has no table [tenant.'{tenant}']; {known}; \"\" is no tenant"
        )
    return rebinding


def _path(text: str) -> str:
    try:
        return parse_path_name(text)
    except ValueError as error:
        raise ControlRefused(str(error)) from None


def _label(what: str, text: str | None) -> str | None:
    if text and not is_label(text):
        raise ControlRefused(
            f"{text[:140]!r} is no {what}: 1 to 128 printable ASCII characters, no space and none of : @ !"
        )
    return text


def _domain(text: str | None, *, or_none: bool = False) -> str | None:
    if text is None or (or_none and not text):
        return text
    try:
        return parse_domain(text)
    except AddressError as error:
        raise ControlRefused(f"{text[:140]!r} is no domain: {error}") from None


class DirectiveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give a directive: ``criteria`` for suspend and bounce, ``subject`` for the others.

    It is over at ``expires``, or after ``duration``; after DEFAULT_DURATION if neither is given. Nothing in ``criteria`` is all mail.
    """

    action: Action
    criteria: WrittenCriteria = WrittenCriteria()
    subject: str = ""
    reason: str = ""
    duration: Seconds | None = None
    expires: WallTime | None = None
    suppress_logging: bool = False

    def directive(self, identity: str, author: str, now: WallTime) -> Directive:
        """The directive that is asked for; ControlRefused."""
        criteria = criteria_of(self.criteria)
        is_of_queues = self.action in (Action.SUSPEND, Action.BOUNCE)
        if is_of_queues == bool(self.subject) or (not is_of_queues and not criteria.is_everything):
            what = "criteria, and no subject" if is_of_queues else "a subject, and no criteria"
            raise ControlRefused(f"{self.action.value} takes {what}")
        if len(self.subject) > _SUBJECT_LIMIT:
            raise ControlRefused(f"a path or source has at most {_SUBJECT_LIMIT} characters")
        subject = _path(self.subject) if self.action is Action.SUSPEND_PATH else self.subject
        return Directive(
            identity, self.action, checked_reason(self.reason), now, self._end(now), criteria, subject,
            author, self.suppress_logging,
        )  # fmt: skip

    def _end(self, now: WallTime) -> WallTime:
        if self.duration is not None and self.expires is not None:
            raise ControlRefused("a directive has a duration or an instant at which it expires, not both")
        end = self.expires
        if end is None:
            end = WallTime(now + (DEFAULT_DURATION if self.duration is None else self.duration))
        if not now < end < now + _LONGEST:
            raise ControlRefused("a directive has to end later than now, and within a hundred years")
        return end


_LONGEST: Final = 100 * 366 * 86400


def checked_reason(text: str) -> str:
    """A reason, on one line; ControlRefused if it is too long."""
    reason = " ".join(text.split())
    if len(reason) > REASON_LIMIT:
        raise ControlRefused(f"a reason has at most {REASON_LIMIT} characters")
    return reason


class SweepRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Do something once to all mail that is there: REBIND, FLUSH, DELETE. ``rebinding`` is for the first."""

    action: SweepAction
    criteria: WrittenCriteria = WrittenCriteria()
    reason: str = ""
    rebinding: Rebinding = Rebinding()
    suppress_logging: bool = False


class MessageRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Do something to one message: FLUSH is to try it now. ``dry_run``: check the order, and only show the message."""

    id: str
    action: SweepAction
    reason: str = ""
    rebinding: Rebinding = Rebinding()
    suppress_logging: bool = False
    dry_run: bool = False


class SurveyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Count queued mail; ``by`` None: the total alone. What cannot be its ``rebinding`` is refused, as a sweep with it would be."""

    criteria: WrittenCriteria = WrittenCriteria()
    by: Grouping | None = None
    limit: int = GROUPS_SHOWN
    rebinding: Rebinding = Rebinding()


class Given(msgspec.Struct, frozen=True):
    """It is in force. ``silent`` are lanes that may start mail and have not said that they know of it: they may not go by it yet.

    ``replaced`` is the id of the directive with the same criteria that it takes the place of.
    """

    id: str
    expires: WallTime | None = None
    replaced: str | None = None
    silent: tuple[str, ...] = ()


class SweepState(msgspec.Struct, frozen=True):
    """A sweep, and how far it is in each lane. ``finished`` is when the last lane had done it."""

    sweep: Sweep
    lanes: Mapping[str, Progress]
    finished: WallTime | None = None

    @property
    def matched(self) -> int:
        """Messages found so far."""
        return sum(part.matched for part in self.lanes.values())

    @property
    def done(self) -> int:
        """Messages to which it has been done."""
        return sum(part.done for part in self.lanes.values())


class Listing(msgspec.Struct, frozen=True):
    """Directives in force, and sweeps under way or finished not long ago; oldest first."""

    now: WallTime
    directives: tuple[Directive, ...] = ()
    sweeps: tuple[SweepState, ...] = ()


class Surveyed(msgspec.Struct, frozen=True):
    """What is queued; ``silent`` lanes are not in it."""

    now: WallTime
    survey: Survey
    silent: tuple[str, ...] = ()


class LaneReasons(msgspec.Struct, frozen=True):
    """What the gates of one lane say. ``queue`` is the queue, ``state`` how its mail, or the message, stands, in words."""

    lane: str
    queue: str
    state: str
    reasons: tuple[Reason, ...] = ()


class Explained(msgspec.Struct, frozen=True):
    """Why a queue or a message does not move, or could, in each lane that has it."""

    now: WallTime
    subject: str
    lanes: tuple[LaneReasons, ...] = ()
    silent: tuple[str, ...] = ()


class ShownMessage(msgspec.Struct, frozen=True):
    """A queued message as people want to see it. ``due`` None: now. ``waiting`` are the recipients that are not settled."""

    id: str
    lane: str
    queue: str
    sender: str
    waiting: tuple[str, ...]
    recipients: int
    size: int
    created: WallTime
    attempts: int
    state: str
    due: WallTime | None = None
    expires: WallTime | None = None
    meta: Mapping[str, str | int | float | bool | None] = {}
