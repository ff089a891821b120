"""Questions about queued mail, answered by the lane that has it.

Counting many queues is done in steps, between which the loop does what else there is.
"""

from __future__ import annotations

import asyncio
from typing import Final

from penstock.ipc.order_words import LaneSurveyAsk, LaneSurveyed
from penstock.queueing.scheduler import Scheduler

#: Queues that are counted at a time: some two milliseconds.
_AT_ONCE: Final = 1000


async def survey(scheduler: Scheduler, word: LaneSurveyAsk) -> LaneSurveyed:
    """Count."""
    surveying = scheduler.survey(word.criteria, word.by, word.limit)
    while surveying.step(_AT_ONCE):  # noqa: ASYNC110  # it is work, not waiting
        await asyncio.sleep(0)
    return LaneSurveyed(surveying.result())
