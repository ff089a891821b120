"""A desk that answers what a test expects, and remembers what it was asked."""

from __future__ import annotations

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
    SweepState,
)
from penstock.mail.directive import Action, Criteria, Directive, Order, Progress, Sweep, SweepAction
from penstock.mail.duration import WallTime
from penstock.mail.reason import Reason
from penstock.mail.survey import Group, Grouping, Survey

NOW = WallTime(1_700_000_000.0)
ID = "0" * 31 + "a"
MESSAGE = "0" * 31 + "b"
GROUPS = (
    Group("acme", 3, 70, 7000, 60, 10, 0, {"suspension": 60}, WallTime(NOW - 3600), 12.34),
    Group("", 1, 5, 500, 0, 4, 1, {}, WallTime(NOW - 60)),
)
DIRECTIVE = Directive(
    ID, Action.SUSPEND, "too many complaints", WallTime(NOW - 60), WallTime(NOW + 240), Criteria(tenant="acme"),
    author="ann",
)  # fmt: skip
SWEPT = SweepState(
    Sweep(Order(ID[:-1] + "c", SweepAction.FLUSH, "", "bob"), Criteria(), NOW),
    {"0": Progress(10, 4), "1": Progress(5, 5, True)},
)
TOTAL = Group("", 4, 75, 7500, 60, 14, 1, {"suspension": 60}, WallTime(NOW - 3600))
NEAR = Survey(TOTAL, (Group("acme@a.test!b.test"), Group("c:acme@a.test")), Group("", 3))
CONTENT = b"Subject: x\r\n\r\n" + bytes(range(256)) * 40


class FakeDesk:
    """See the module. ``refusal`` is raised from everything, if there is one; ``silent`` lanes did not answer.

    ``total`` is what there is of all, None if that cannot be counted. ``missing``: no queue is there that is asked for, but others near it.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, object, str]] = []
        self.refusal: Exception | None = None
        self.silent: tuple[str, ...] = ()
        self.total: Group | None = TOTAL
        self.missing = False
        self.listed = Listing(NOW, (DIRECTIVE,), (SWEPT,))

    def _ask(self, what: str, asked: object, author: str = "") -> None:
        self.asked.append((what, asked, author))
        if self.refusal is not None:
            raise self.refusal

    def orders(self) -> Listing:
        """See ControlDesk."""
        self._ask("orders", None)
        return self.listed

    async def give(self, request: DirectiveRequest, author: str) -> Given:
        """See ControlDesk."""
        self._ask("give", request, author)
        return Given(ID, request.directive(ID, author, NOW).expires, None, self.silent)

    async def sweep(self, request: SweepRequest, author: str) -> Given:
        """See ControlDesk."""
        self._ask("sweep", request, author)
        return Given(ID, silent=self.silent)

    async def cancel(self, identity: str, author: str) -> Given:
        """See ControlDesk."""
        self._ask("cancel", identity, author)
        return Given(identity, silent=self.silent)

    async def survey(self, request: SurveyRequest) -> Surveyed:
        """See ControlDesk."""
        self._ask("survey", request)
        if self.total is None:
            raise ControlRefused("not now")
        if not self.total.messages:
            return Surveyed(NOW, Survey(self.total), self.silent)
        if request.by is Grouping.QUEUE and self.missing:
            return Surveyed(NOW, NEAR, self.silent)
        return Surveyed(NOW, Survey(self.total, GROUPS if request.by is not None else ()), self.silent)

    async def explain_queue(self, name: str) -> Explained:
        """See ControlDesk."""
        self._ask("explain_queue", name)
        if self.missing:
            raise ControlMissing(f"there is no queue with mail {name}")
        reasons = (
            Reason("expiry", False, "the oldest message expires in 6 days", "1h", "7d", origin="queues.toml: x"),
            Reason("suspension", True, "suspended by ann", since=NOW, until=WallTime(NOW + 90), origin=ID),
            Reason("connection", True, "no connection is free", awaits="a connection"),
        )  # fmt: skip
        return Explained(NOW, name, (LaneReasons("0", name, "60 messages are ready", reasons),), self.silent)

    async def explain_message(self, identity: str) -> Explained:
        """See ControlDesk."""
        self._ask("explain_message", identity)
        reasons = (Reason("retry", True, "no attempt is due yet", until=WallTime(NOW + 90)),)
        return Explained(NOW, identity, (LaneReasons("1", "acme@a.test", "waiting", reasons),), self.silent)

    async def message(self, identity: str) -> ShownMessage:
        """See ControlDesk."""
        self._ask("message", identity)
        if identity != MESSAGE:
            raise ControlMissing(f"there is no queued message {identity}")
        return self._message()

    async def content(self, identity: str, offset: int) -> bytes:
        """See ControlDesk."""
        self._ask("content", (identity, offset))
        return CONTENT[offset : offset + 1000]

    async def order(self, request: MessageRequest, author: str) -> ShownMessage:
        """See ControlDesk."""
        self._ask("order", request, author)
        if request.id != MESSAGE:
            raise ControlMissing(f"there is no queued message {request.id}")
        return self._message()

    def _message(self) -> ShownMessage:
        return ShownMessage(
            MESSAGE, "1", "acme@a.test", "s@from.test", ("r@a.test",), 2, len(CONTENT), NOW, 3, "waiting",
            WallTime(NOW + 90), WallTime(NOW + 600_000), {"shape": "round"},
        )  # fmt: skip
