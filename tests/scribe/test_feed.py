"""Lanes and the scribe over a real socket, with real spools: every event once, whoever is slow, dead or late."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from penstock.events.event import Event
from penstock.events.record import derive
from penstock.mail.ids import MessageId
from penstock.mail.records import MessageRecord, Verdict
from penstock.spool.codec import INLINE_LIMIT
from tests.spool import samples

from .running import NODE, RunningLane, RunningScribe, expected, running, until


def run(work: Coroutine[Any, Any, None]) -> None:
    """On the loop that a server has."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


class Mail:
    """Messages of all sorts, each another one."""

    def __init__(self) -> None:
        self._number = 0

    def message(self, content: bytes = b"c" * 3000, recipients: int = 2) -> MessageRecord:
        """One more."""
        self._number += 1
        return samples.message(self._number, recipients=recipients, content=content)

    async def flow(self, lane: RunningLane, count: int) -> None:
        """So many messages come, and are delivered, put off, given up and expired."""
        for _ in range(count):
            sent = self.message()
            lane.store(sent)
            await until(lambda: sent.id in lane.positions, "it is stored")  # noqa: B023 - it is waited for here
            lane.record(samples.attempt(sent, 1, (0, Verdict.ACCEPTED), (1, Verdict.DEFERRED), due=5.0))
            if self._number % 2:
                lane.record(samples.attempt(sent, 2, (1, Verdict.FAILED)))
            else:
                lane.record(samples.expiration(sent, 1))
            lane.note(msgspec.structs.replace(samples.REJECTION, id=MessageId(f"f{self._number:031x}")))


async def all_there(scribe: RunningScribe, *lanes: RunningLane) -> None:
    """Wait until every event is there, and see that none is there twice."""
    await until(lambda: all(lane.is_quiet for lane in lanes), "all is stored")
    wanted = expected(*lanes)
    await until(lambda: len(scribe.ids()) >= len(wanted), "all events are there")
    assert sorted(scribe.ids()) == wanted


def test_events_of_all_lanes_are_in_one_log(tmp_path: Path) -> None:
    """As they come: none is read back, and what is in the line is what the record says."""

    async def work() -> None:
        mail = Mail()
        async with running(tmp_path, "0", "bulk") as (scribe, lanes):
            for lane in lanes:
                await mail.flow(lane, 10)
            parts = [mail.message(b"shared"), mail.message(b"shared")]
            lanes[0].store(*parts)
            lanes[1].store(mail.message(b"x" * (INLINE_LIMIT + 7)))
            await until(lambda: len(lanes[0].positions) == 12 and len(lanes[1].positions) == 11, "stored")
            await all_there(scribe, *lanes)
            said = {event["event_id"]: event for event in scribe.events()}
            for lane in lanes:
                for event in [event for item in lane.stored for event in derive(item, node=NODE, epoch=1)]:
                    assert said[event.event_id] == _as_json(event)
            assert lanes[0].feed.told > 30
            assert scribe.scribe.log.counts.dropped == 0

    run(work())


def _as_json(event: Event) -> Any:
    return msgspec.json.decode(msgspec.json.encode(event))


def test_spool_hears_up_to_where_events_are_written(tmp_path: Path) -> None:
    """So its segments go."""

    async def work() -> None:
        mail = Mail()
        async with running(tmp_path, "0", segment_size=1 << 16) as (_, (lane,)):
            for _ in range(60):
                await mail.flow(lane, 1)
            await until(lambda: lane.feed.written == lane.spool.synced, "all is written")
            await until(lambda: lane.spool.counts.removed_segments > 0, "segments are gone")

    run(work())


def test_scribe_that_comes_late_reads_what_it_has_missed(tmp_path: Path) -> None:
    """A lane neither waits for it, nor keeps anything in memory for it."""

    async def work() -> None:
        mail, scribe = Mail(), RunningScribe(tmp_path)
        lane = RunningLane("0", tmp_path, scribe.socket, segment_size=1 << 16)
        await lane.start()
        await mail.flow(lane, 40)
        await scribe.start(["0"])
        await all_there(scribe, lane)
        await mail.flow(lane, 5)
        await all_there(scribe, lane)
        await lane.stop()
        await scribe.stop()

    run(work())


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "stopped"])
def test_scribe_that_ends_in_the_middle_goes_on(tmp_path: Path, is_killed: bool) -> None:
    """Again and again, under load: no event is missing, none is there twice."""

    async def work() -> None:
        mail = Mail()
        async with running(tmp_path, "0", "1", segment_size=1 << 16) as (scribe, lanes):
            flows = [asyncio.create_task(mail.flow(lane, 150)) for lane in lanes]
            for pause in (0.06, 0.11, 0.02, 0.07):
                await asyncio.sleep(pause)
                if is_killed:
                    scribe.kill()
                else:
                    await scribe.stop()
                await scribe.start(["0", "1"])
            for flow in flows:
                await flow
            await until(
                lambda: all(lane.spool.synced == lane.feed.written for lane in lanes), "all is written"
            )
            await all_there(scribe, *lanes)

    run(work())


def test_lane_whose_process_dies_goes_on(tmp_path: Path) -> None:
    """What it told of is there, what it stored and did not tell comes with the next process."""

    async def work() -> None:
        mail, scribe = Mail(), RunningScribe(tmp_path)
        await scribe.start(["0"])
        lanes: list[RunningLane] = []
        for _ in range(4):
            lane = RunningLane("0", tmp_path, scribe.socket, segment_size=1 << 16)
            lanes.append(lane)
            await lane.start()
            await mail.flow(lane, 12)
            await until(lambda: lane.is_quiet, "all is stored")  # noqa: B023
            lane.kill()
        last = RunningLane("0", tmp_path, scribe.socket, segment_size=1 << 16)
        await last.start()
        await all_there(scribe, *lanes)
        await last.stop()
        await scribe.stop()

    run(work())


def test_scribe_that_does_not_keep_up_reads_what_it_was_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Little is kept for it; a lane with more to say goes on without it."""

    async def work() -> None:
        mail = Mail()
        async with running(tmp_path, "0") as (scribe, (lane,)):
            channel = lane.feed._channel
            assert channel is not None
            monkeypatch.setattr(type(channel), "backlog", property(lambda _: 1 << 30))
            await mail.flow(lane, 20)
            assert lane.feed.told == 0
            monkeypatch.undo()
            await mail.flow(lane, 5)
            await all_there(scribe, lane)

    run(work())


def test_lane_that_is_gone_for_good_comes_again_with_another_spool(tmp_path: Path) -> None:
    """It was emptied, and removed: the next one of its name begins anew."""

    async def work() -> None:
        mail = Mail()
        async with running(tmp_path, "0", "1") as (scribe, lanes):
            await mail.flow(lanes[1], 10)
            await until(lambda: lanes[1].feed.written == lanes[1].spool.synced, "all is written")
            await lanes[1].feed.forget()
            lanes[1].kill()
            lanes[1].folder.rename(tmp_path / "away")
            assert "1" not in scribe.scribe.lanes
            gone = lanes.pop()
            lanes.append(RunningLane("1", tmp_path, scribe.socket, segment_size=1 << 20))
            await lanes[1].start()
            await mail.flow(lanes[1], 10)
            await all_there(scribe, gone, *lanes)

    run(work())


def test_epochs_are_those_in_which_a_lane_stored(tmp_path: Path) -> None:
    """Told, and read back by a scribe that comes later."""

    async def work() -> None:
        mail = Mail()
        async with running(tmp_path, "0") as (scribe, (lane,)):
            for epoch in (2, 3):
                await mail.flow(lane, 2)
                await until(lambda: lane.is_quiet, "all is stored")
                lane.feed.use_epoch(epoch)
            scribe.kill()
            await mail.flow(lane, 2)
            await scribe.start(["0"])
            await all_there(scribe, lane)
            epochs = [event["config_epoch"] for event in scribe.events() if event["type"] == "Reception"]
            assert epochs == [1, 1, 2, 2, 3, 3]

    run(work())
