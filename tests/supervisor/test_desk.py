"""What people ask about queued mail, answered by lanes that a test speaks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from penstock.ipc.bus import BusFault, Done
from penstock.ipc.order_words import (
    LaneDirectiveGive,
    LaneExplained,
    LaneMessageOrder,
    LaneMessageShow,
    LaneMessageShown,
    LaneOrdersNote,
    LaneQueueExplain,
    LaneSurveyAsk,
    LaneSurveyed,
    LaneSweepGive,
)
from penstock.ipc.words import BUS
from penstock.mail.control import (
    ControlMissing,
    ControlRefused,
    DirectiveRequest,
    MessageRequest,
    SurveyRequest,
    SweepRequest,
    WrittenCriteria,
)
from penstock.mail.directive import Action, Criteria, Rebinding, SweepAction
from penstock.mail.ids import IdSource
from penstock.mail.queue_name import QueueName
from penstock.mail.reason import Reason
from penstock.mail.survey import Group, Grouping, Survey
from penstock.sim.clock import FakeClock
from penstock.supervisor.desk import Desk, count_messages
from penstock.supervisor.members import Member
from penstock.supervisor.orders import Orders
from penstock.supervisor.state import State

from .test_broker import Disk
from .test_orders import quiet, run

ID = "0123456789abcdef" * 2
ACME = WrittenCriteria(tenant="acme")
GROUP = Group("mx.a.test", 2, 30, 900, 20, 10)


class Lane:
    """A lane that answers as a test says; a word that it does not know is a fault."""

    def __init__(self, **answers: msgspec.Struct | Exception) -> None:
        self.answers = answers
        self.asked: list[msgspec.Struct] = []

    async def ask(self, request: msgspec.Struct, timeout: float) -> msgspec.Struct:
        """See Bus."""
        assert BUS.decode(*BUS.encode(request)) == request
        self.asked.append(request)
        answer = self.answers.get(type(request).__name__, BusFault("what?"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def tell(self, note: msgspec.Struct) -> None:
        """See Bus."""
        self.asked.append(note)

    def of(self, kind: type) -> list[msgspec.Struct]:
        """What it was asked of this type."""
        return [word for word in self.asked if isinstance(word, kind)]


class World:
    """A desk with two lanes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lanes = [Lane(LaneDirectiveGive=Done(), LaneSweepGive=Done()) for _ in range(2)]

    async def open(self) -> Desk:
        """The lanes are there, and at work."""
        clock, ids = FakeClock(), IdSource(7)
        self.members = {str(number): Member(str(number)) for number in range(3)}
        self.state = State(self.folder)

        async def count(directive: object) -> int:
            return await count_messages(self.members, directive)  # type: ignore[arg-type]

        self.orders = Orders(self.state, Disk(), clock, self.members, ids, count, clock.call_later)
        await self.orders.open()
        for lane, bus in zip("01", self.lanes, strict=True):
            self.members[lane].bus = bus  # type: ignore[assignment]
            self.orders.join(lane, bus)
            self.orders.begins(lane)
            self.orders.begun(lane)
        return Desk(self.members, self.orders, clock, ids, lambda: frozenset({"x", "acme"}))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """With a state of its own."""
    return World(tmp_path)


def scene(world: World, play: Callable[[Desk], object]) -> None:
    """Play it in a loop."""

    async def whole() -> None:
        desk = await world.open()
        await play(desk)  # type: ignore[misc]
        await world.orders.close()

    run(whole())


def test_a_bounce_begins_with_a_sweep_of_its_id(world: World) -> None:
    """A suspension has none; the note has the number of messages."""

    async def play(desk: Desk) -> None:
        for lane in world.lanes:
            lane.answers["LaneSurveyAsk"] = LaneSurveyed(Survey(Group("", 1, 7)))
        given = await desk.give(DirectiveRequest(Action.BOUNCE, ACME, reason="x"), "ann")
        (word,) = world.lanes[1].of(LaneDirectiveGive)
        assert isinstance(word, LaneDirectiveGive)
        assert word.sweep is not None
        assert word.directive.id == word.sweep.order.id == given.id
        assert word.sweep.criteria == Criteria(tenant="acme")
        assert (word.sweep.order.action, word.sweep.order.author) == (SweepAction.BOUNCE, "ann")
        assert word.sweep.given == word.directive.given
        await desk.give(DirectiveRequest(Action.SUSPEND, ACME), "ann")
        word = world.lanes[1].of(LaneDirectiveGive)[-1]
        assert isinstance(word, LaneDirectiveGive) and word.sweep is None
        await quiet()
        note = world.lanes[0].of(LaneOrdersNote)[0]
        assert isinstance(note, LaneOrdersNote) and note.record.messages == 14

    scene(world, play)


def test_a_sweep_is_given_to_all_and_checked_before(world: World) -> None:
    """A bounce is none; what changes nothing is refused."""

    async def play(desk: Desk) -> None:
        await desk.sweep(SweepRequest(SweepAction.REBIND, ACME, rebinding=Rebinding("x")), "ann")
        (word,) = world.lanes[0].of(LaneSweepGive)
        assert isinstance(word, LaneSweepGive)
        assert word.sweep.order.rebinding == Rebinding("x")
        for request, told in (
            (SweepRequest(SweepAction.BOUNCE, ACME), "directive"),
            (SweepRequest(SweepAction.REBIND, ACME), "what becomes otherwise"),
            (SweepRequest(SweepAction.FLUSH, ACME, rebinding=Rebinding("x")), "changes nothing"),
            (SweepRequest(SweepAction.FLUSH, WrittenCriteria(domain="a b")), "no domain"),
        ):
            with pytest.raises(ControlRefused, match=told):
                await desk.sweep(request, "ann")
        assert len(desk.orders().sweeps) == 1

    scene(world, play)


def test_mail_is_not_put_into_queues_of_a_tenant_that_there_is_not(world: World) -> None:
    """Nor tried out; what there is instead is named. No tenant is always there."""

    async def play(desk: Desk) -> None:
        told = r"unknown tenant typo: queues.toml has no table \[tenant.'typo'\]; it has acme, x; \"\" is no tenant"
        wrong = Rebinding("typo")
        with pytest.raises(ControlRefused, match=told):
            await desk.sweep(SweepRequest(SweepAction.REBIND, ACME, rebinding=wrong), "ann")
        with pytest.raises(ControlRefused, match=told):
            await desk.survey(SurveyRequest(ACME, rebinding=wrong))
        for dry_run in (False, True):
            with pytest.raises(ControlRefused, match=told):
                await desk.order(
                    MessageRequest(ID, SweepAction.REBIND, rebinding=wrong, dry_run=dry_run), "ann"
                )
        assert world.lanes[0].of(LaneMessageOrder) == world.lanes[0].of(LaneSweepGive) == []
        await desk.sweep(SweepRequest(SweepAction.REBIND, ACME, rebinding=Rebinding("")), "ann")

    scene(world, play)


def test_an_order_that_is_tried_out_shows_the_message(world: World) -> None:
    """And no lane is given it."""

    async def play(desk: Desk) -> None:
        shown = LaneMessageShown("acme@a.test", "", ("r@a.test",), 1, 9, 5.0, 0, "ready")
        world.lanes[0].answers["LaneMessageShow"] = shown
        found = await desk.order(MessageRequest(ID, SweepAction.DELETE, dry_run=True), "ann")
        assert (found.lane, found.queue) == ("0", "acme@a.test")
        assert world.lanes[0].of(LaneMessageOrder) == []

    scene(world, play)


def test_what_cannot_be_kept_is_refused(world: World) -> None:
    """And nobody is told."""

    async def play(desk: Desk) -> None:
        world.state.connection.execute("DROP TABLE directive")
        with pytest.raises(ControlRefused, match="it cannot be kept, so it was not done"):
            await desk.give(DirectiveRequest(Action.SUSPEND, ACME), "ann")
        assert world.lanes[0].of(LaneDirectiveGive) == []

    scene(world, play)


def test_lanes_count_and_the_silent_are_named(world: World) -> None:
    """More is asked of each than is shown of all."""

    async def play(desk: Desk) -> None:
        world.lanes[0].answers["LaneSurveyAsk"] = LaneSurveyed(Survey(GROUP, (GROUP,)))
        answer = await desk.survey(SurveyRequest(ACME, Grouping.SITE, 5))
        assert answer.survey.groups == (GROUP,)
        assert answer.silent == ("1", "2")
        assert world.lanes[0].of(LaneSurveyAsk) == [LaneSurveyAsk(Criteria(tenant="acme"), Grouping.SITE, 50)]
        for limit in (0, 1001):
            with pytest.raises(ControlRefused, match="from 1 to 1000"):
                await desk.survey(SurveyRequest(limit=limit))

    scene(world, play)


def test_a_path_is_about_the_mail_of_its_site(world: World) -> None:
    """For the note of its suspension."""

    async def play(desk: Desk) -> None:
        world.lanes[0].answers["LaneSurveyAsk"] = LaneSurveyed(Survey(GROUP, (GROUP,)))
        await desk.give(DirectiveRequest(Action.SUSPEND_PATH, subject="ip-1->mx.a.test"), "ann")
        await desk.give(DirectiveRequest(Action.SUSPEND_PATH, subject="ip-1->mx.b.test"), "ann")
        await quiet()
        notes = [
            word.record for word in world.lanes[0].of(LaneOrdersNote) if isinstance(word, LaneOrdersNote)
        ]
        assert [note.messages for note in notes] == [30, 0]

    scene(world, play)


def test_each_lane_that_has_the_queue_says_why(world: World) -> None:
    """One that has no mail of it says nothing; if none has, that is told, and who was not heard."""

    async def play(desk: Desk) -> None:
        reason = Reason("suspension", True, "suspended")
        world.lanes[0].answers["LaneQueueExplain"] = LaneExplained()
        world.lanes[1].answers["LaneQueueExplain"] = LaneExplained("acme@a.test", "ready", (reason,))
        answer = await desk.explain_queue("acme@A.test")
        assert [(lane.lane, lane.reasons) for lane in answer.lanes] == [("1", (reason,))]
        assert (answer.subject, answer.silent) == ("acme@a.test", ("2",))
        assert world.lanes[0].of(LaneQueueExplain) == [LaneQueueExplain(QueueName("a.test", "acme"))]
        world.lanes[1].answers["LaneQueueExplain"] = LaneExplained()
        with pytest.raises(ControlMissing, match=r"no queue with mail b\.test; no answer of lane 2"):
            await desk.explain_queue("b.test")

    scene(world, play)


def test_a_message_is_where_it_is(world: World) -> None:
    """Whichever lane has it shows it, and does what is asked."""

    async def play(desk: Desk) -> None:
        shown = LaneMessageShown(
            "acme@a.test",
            "s@from.test",
            ("r@a.test",),
            2,
            999,
            5.0,
            1,
            "waiting",
            7.0,
            9.0,
            {"a": 1},
            b"octets",
        )
        for word in ("LaneMessageShow", "LaneMessageOrder"):
            world.lanes[0].answers[word] = LaneMessageShown()
            world.lanes[1].answers[word] = shown
        found = await desk.message(ID)
        assert (found.lane, found.queue, found.size, found.due, found.meta) == (
            "1",
            "acme@a.test",
            999,
            7.0,
            {"a": 1},
        )
        assert await desk.content(ID, 3) == b"octets"
        assert world.lanes[0].of(LaneMessageShow)[-1] == LaneMessageShow(found.id, 3)  # type: ignore[arg-type]
        await desk.order(MessageRequest(ID, SweepAction.DELETE, "spam"), "ann")
        (word,) = world.lanes[1].of(LaneMessageOrder)
        assert isinstance(word, LaneMessageOrder)
        assert (word.order.action, word.order.reason, word.order.author) == (
            SweepAction.DELETE,
            "spam",
            "ann",
        )
        with pytest.raises(ControlRefused, match="number of octets"):
            await desk.content(ID, -1)
        for wrong in ("", "x" * 32, ID.upper(), ID + "0"):
            with pytest.raises(ControlRefused, match="is no id of a message"):
                await desk.message(wrong)
        world.lanes[1].answers["LaneMessageShow"] = LaneMessageShown()
        with pytest.raises(ControlMissing, match=f"no queued message {ID}; no answer of lane 2"):
            await desk.message(ID)
        world.lanes[1].answers["LaneMessageOrder"] = BusFault("too much is under way")
        with pytest.raises(ControlRefused, match=r"^lane 1: too much is under way$"):
            await desk.order(MessageRequest(ID, SweepAction.DELETE), "ann")

    scene(world, play)


def test_lanes_are_asked_at_the_same_time(world: World) -> None:
    """One that is slow does not make the others late."""

    async def play(desk: Desk) -> None:
        gate = asyncio.Event()
        order: list[str] = []

        async def slow(request: msgspec.Struct, timeout: float) -> msgspec.Struct:
            await gate.wait()
            order.append("slow")
            return LaneSurveyed(Survey(GROUP))

        async def quick(request: msgspec.Struct, timeout: float) -> msgspec.Struct:
            order.append("quick")
            gate.set()
            return LaneSurveyed(Survey(GROUP))

        world.lanes[0].ask, world.lanes[1].ask = slow, quick  # type: ignore[method-assign]
        answer = await desk.survey(SurveyRequest())
        assert order == ["quick", "slow"]
        assert answer.survey.total.messages == 60

    scene(world, play)
