"""Asking all lanes something at a time: each has PATIENCE to answer, and those that do not are silent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from penstock.ipc.bus import BusEnded, BusFault
from penstock.mail.duration import Seconds
from penstock.supervisor.members import Member

#: A lane that has not answered within so many seconds is silent.
PATIENCE: Final = Seconds(2.0)
Answer = TypeVar("Answer", bound=msgspec.Struct)


async def ask_lanes(
    members: Mapping[str, Member],
    question: msgspec.Struct,
    kind: type[Answer],
    faults: dict[str, str] | None = None,
) -> dict[str, Answer]:
    """The answers by lane, in the order of the lanes; of silent ones there is none. ``faults`` gets what lanes say that could not do it."""

    async def one(member: Member) -> Answer | None:
        if member.bus is None:
            return None
        try:
            answer = await member.bus.ask(question, PATIENCE)
        except (BusEnded, TimeoutError):
            return None
        except BusFault as fault:
            if faults is not None:
                faults[member.lane] = str(fault)
            return None
        return answer if isinstance(answer, kind) else None

    answers = await asyncio.gather(*map(one, members.values()))
    return {lane: answer for lane, answer in zip(members, answers, strict=True) if answer is not None}
