"""What people ask about queued mail, answered for the whole server: orders are given, lanes are asked, and answers made one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from penstock.ipc.order_words import (
    LaneExplained,
    LaneMessageExplain,
    LaneMessageOrder,
    LaneMessageShow,
    LaneMessageShown,
    LaneQueueExplain,
    LaneSurveyAsk,
    LaneSurveyed,
)
from penstock.mail.control import (
    ControlMissing,
    ControlRefused,
    DirectiveRequest,
    Explained,
    Given,
    LaneReasons,
    Listing,
    MessageRequest,
    ShownMessage,
    Surveyed,
    SurveyRequest,
    SweepRequest,
    checked_reason,
    checked_tenant,
    criteria_of,
    queue_of,
    rebinding_of,
)
from penstock.mail.directive import Action, Criteria, Directive, Order, Rebinding, Sweep, SweepAction
from penstock.mail.duration import WallTime
from penstock.mail.ids import IdSource, MessageId
from penstock.mail.path_name import site_of_path
from penstock.mail.ports import Clock
from penstock.mail.survey import GROUPS_LIMIT, Grouping, Survey, merged
from penstock.supervisor.asking import ask_lanes
from penstock.supervisor.members import Member
from penstock.supervisor.orders import Orders
from penstock.supervisor.state import StateError

Answer = TypeVar("Answer")
_ID_DIGITS: Final = 32


class Desk:
    """See the module. ``members`` are the server's lanes; ``tenants`` says which there are."""

    def __init__(
        self,
        members: Mapping[str, Member],
        orders: Orders,
        clock: Clock,
        ids: IdSource,
        tenants: Callable[[], frozenset[str]],
    ) -> None:
        self._members = members
        self._orders = orders
        self._clock = clock
        self._ids = ids
        self._tenants = tenants

    # -- orders

    def orders(self) -> Listing:
        """See ControlDesk."""
        return self._orders.listing()

    async def give(self, request: DirectiveRequest, author: str) -> Given:
        """See ControlDesk."""
        directive = request.directive(self._new_id(), author, self._clock.wall())
        sweep = None
        if directive.action is Action.BOUNCE:
            order = Order(
                directive.id, SweepAction.BOUNCE, directive.reason, author, Rebinding(), directive.suppress_logging
            )  # fmt: skip
            sweep = Sweep(order, directive.criteria, directive.given)
        return await _kept(lambda: self._orders.give(directive, sweep))

    async def sweep(self, request: SweepRequest, author: str) -> Given:
        """See ControlDesk."""
        if request.action is SweepAction.BOUNCE:
            raise ControlRefused("to bounce is a directive: it holds for mail that comes later, too")
        order = self._order(request, author)
        sweep = Sweep(order, criteria_of(request.criteria), self._clock.wall())
        return await _kept(lambda: self._orders.give(None, sweep))

    async def cancel(self, identity: str, author: str) -> Given:
        """See ControlDesk."""
        return await _kept(lambda: self._orders.cancel(identity, author))

    def _order(self, request: SweepRequest | MessageRequest, author: str) -> Order:
        is_rebind = request.action is SweepAction.REBIND
        if not is_rebind and request.rebinding != Rebinding():
            raise ControlRefused(f"to {request.action.value} changes nothing of a queue's name")
        return Order(
            self._new_id(),
            request.action,
            checked_reason(request.reason),
            author,
            self._rebinding(request.rebinding) if is_rebind else Rebinding(),
            request.suppress_logging,
        )

    def _rebinding(self, written: Rebinding) -> Rebinding:
        return checked_tenant(rebinding_of(written), self._tenants())

    def _new_id(self) -> MessageId:
        return self._ids.next(self._clock.wall())

    # -- questions

    async def survey(self, request: SurveyRequest) -> Surveyed:
        """See ControlDesk."""
        if not 1 <= request.limit <= GROUPS_LIMIT:
            raise ControlRefused(f"limit is from 1 to {GROUPS_LIMIT}")
        if request.rebinding != Rebinding():
            self._rebinding(request.rebinding)
        criteria = criteria_of(request.criteria)
        survey, silent = await survey_lanes(self._members, criteria, request.by, request.limit)
        return Surveyed(self._clock.wall(), survey, silent)

    async def explain_queue(self, name: str) -> Explained:
        """See ControlDesk."""
        queue = queue_of(name)
        faults: dict[str, str] = {}
        parts = await ask_lanes(self._members, LaneQueueExplain(queue), LaneExplained, faults)
        return self._explained(str(queue), parts, "queue with mail", faults)

    async def explain_message(self, identity: str) -> Explained:
        """See ControlDesk."""
        faults: dict[str, str] = {}
        question = LaneMessageExplain(_message_id(identity))
        parts = await ask_lanes(self._members, question, LaneExplained, faults)
        return self._explained(identity, parts, "queued message", faults)

    def _explained(
        self, subject: str, parts: Mapping[str, LaneExplained], what: str, faults: Mapping[str, str]
    ) -> Explained:
        lanes = tuple(
            LaneReasons(lane, part.queue, part.state, part.reasons)
            for lane, part in parts.items()
            if part.queue
        )
        silent = self._silent(parts)
        if not lanes:
            raise _missing(what, subject, silent, faults)
        return Explained(self._clock.wall(), subject, lanes, silent)

    # -- one message

    async def message(self, identity: str) -> ShownMessage:
        """See ControlDesk."""
        lane, shown = await self._show(identity, None)
        return _shown(identity, lane, shown)

    async def content(self, identity: str, offset: int) -> bytes:
        """See ControlDesk."""
        if offset < 0:
            raise ControlRefused("offset is a number of octets")
        _, shown = await self._show(identity, offset)
        return shown.content

    async def _show(self, identity: str, offset: int | None) -> tuple[str, LaneMessageShown]:
        question = LaneMessageShow(_message_id(identity), offset)
        return await self._ask(identity, question)

    async def order(self, request: MessageRequest, author: str) -> ShownMessage:
        """See ControlDesk."""
        order = self._order(request, author)
        if request.dry_run:
            return await self.message(request.id)
        question = LaneMessageOrder(_message_id(request.id), order)
        lane, shown = await self._ask(request.id, question)
        return _shown(request.id, lane, shown)

    async def _ask(
        self, identity: str, question: LaneMessageShow | LaneMessageOrder
    ) -> tuple[str, LaneMessageShown]:
        faults: dict[str, str] = {}
        parts = await ask_lanes(self._members, question, LaneMessageShown, faults)
        for lane, part in parts.items():
            if part.queue:
                return lane, part
        raise _missing("queued message", identity, self._silent(parts), faults)

    def _silent(self, parts: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(lane for lane in self._members if lane not in parts)


async def survey_lanes(
    members: Mapping[str, Member], criteria: Criteria, by: Grouping | None, limit: int
) -> tuple[Survey, tuple[str, ...]]:
    """What is queued in all lanes, and the lanes that have not told."""
    # lanes tell more than is shown, so that what is small in each and large in all is found
    parts = await ask_lanes(members, LaneSurveyAsk(criteria, by, min(GROUPS_LIMIT, 10 * limit)), LaneSurveyed)
    silent = tuple(lane for lane in members if lane not in parts)
    return merged([part.survey for part in parts.values()], limit), silent


async def count_messages(members: Mapping[str, Member], directive: Directive) -> int:
    """How many queued messages a directive is about."""
    if directive.action is not Action.SUSPEND_PATH:
        return (await survey_lanes(members, directive.criteria, None, 1))[0].total.messages
    survey, _ = await survey_lanes(members, Criteria(), Grouping.SITE, GROUPS_LIMIT)
    site = site_of_path(directive.subject)
    return sum(group.messages for group in survey.groups if group.name == site)


async def _kept(call: Callable[[], Awaitable[Answer]]) -> Answer:
    try:
        return await call()
    except StateError as error:
        raise ControlRefused(f"it cannot be kept, so it was not done: {error}") from error


def _message_id(text: str) -> MessageId:
    if len(text) != _ID_DIGITS or not text.isascii() or not all(each in "0123456789abcdef" for each in text):
        raise ControlRefused(
            f"{text[:64]!r} is no id of a message: that has {_ID_DIGITS} digits, 0 to 9 and a to f"
        )
    return MessageId(text)


def _missing(what: str, name: str, silent: tuple[str, ...], faults: Mapping[str, str]) -> ControlRefused:
    """No lane has it; or one could not say, and then that is the reason."""
    if faults:
        return ControlRefused("; ".join(f"lane {lane}: {fault}" for lane, fault in faults.items()))
    of = f"; no answer of lane {', '.join(silent)}, which may have it" if silent else ""
    return ControlMissing(f"there is no {what} {name[:200]}{of}")


def _shown(identity: str, lane: str, shown: LaneMessageShown) -> ShownMessage:
    return ShownMessage(
        identity,
        lane,
        shown.queue,
        shown.sender,
        shown.waiting,
        shown.recipients,
        shown.size,
        WallTime(shown.created),
        shown.attempts,
        shown.state,
        WallTime(shown.due) if shown.due is not None else None,
        WallTime(shown.expires) if shown.expires is not None else None,
        shown.meta,
    )
