"""Questions about queued mail, answered by the lane that has it.

Counting many queues is done in steps, between which the loop does what else there is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from penstock.ipc.order_words import LaneSurveyAsk, LaneSurveyed
from penstock.mail.directive import Criteria
from penstock.mail.survey import Group, Grouping, Survey

if TYPE_CHECKING:
    from penstock.worker.worker import Worker

#: Queues that are counted at a time: some two milliseconds.
_AT_ONCE: Final = 1000


async def survey(worker: Worker, word: LaneSurveyAsk) -> LaneSurveyed:
    """Count, and say how fast it goes where that is known."""
    surveying = worker.lane.scheduler.survey(word.criteria, word.by, word.limit)
    while surveying.step(_AT_ONCE):  # noqa: ASYNC110  # it is work, not waiting
        await asyncio.sleep(0)
    return LaneSurveyed(_rated(worker, word, surveying.result()))


def _rated(worker: Worker, word: LaneSurveyAsk, found: Survey) -> Survey:
    """With the rates of tenants, if nothing narrows it further, and of the whole."""
    tenant = word.criteria.tenant
    if word.criteria != Criteria(tenant=tenant):
        return found
    rate = worker.rates().delivered if tenant is None else worker.tenant_rate(tenant or None)
    groups = found.groups
    if word.by is Grouping.TENANT:
        groups = tuple(_with(group, worker.tenant_rate(group.name or None)) for group in groups)
    return msgspec.structs.replace(found, total=_with(found.total, rate), groups=groups)


def _with(group: Group, rate: float | None) -> Group:
    return msgspec.structs.replace(group, rate=rate)
